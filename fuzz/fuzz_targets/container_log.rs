//! Lines of container logs in CRI's format.

#![no_main]

use kubelet::logs::line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for raw in bytes.split(|byte| *byte == b'\n') {
        if let Some(line) = line::parse(raw) {
            let _ = line.timestamp();
            assert!(raw.ends_with(line.text));
        }
    }
});
