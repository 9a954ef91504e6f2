//! The bridge plugin's configuration, and the ranges in it.

#![no_main]

use cni::BridgeConfig;
use cni::config::Range;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
    if let Ok(config) = serde_json::from_slice::<BridgeConfig>(bytes) {
        check(&config.subnet);
        check(&config.cluster_cidr);
    }
});

/// What a range hands out lies in it.
fn check(text: &str) {
    let Ok(range) = Range::parse(text) else { return };
    let (first, last) = range.pod_addresses();
    for address in [range.gateway(), first, last] {
        assert!(range.contains(address), "{address} of {text}");
    }
    let _ = range.mask();
}
