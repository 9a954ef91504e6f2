//! Endpoints of Services: where this server sends what is meant for a Service. The server is no pod and may run where
//! no Service address leads, so it takes one of the ready endpoints itself.

use api::Object;
use serde_json::Value;

use crate::cache::Cache;

const SLICES: &str = "endpointslices";

/// One of the ready endpoints of a Service's port, by the port's name: address and port number. `None` where there is
/// none.
pub(crate) fn choose(
    cache: &Cache,
    namespace: &str,
    service: &str,
    port_name: &str,
) -> Option<(String, u16)> {
    let slices = cache.resource(SLICES)?;
    let mut candidates = Vec::new();
    for entry in slices.snapshot(Some(namespace)).entries {
        if entry.label("kubernetes.io/service-name") != Some(service) {
            continue;
        }
        let Some(slice) = crate::cache::lookup::decode::<Object>(&entry) else { continue };
        let list = |key: &str| slice.at(&[key]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let ports = list("ports");
        let number = ports.iter().find(|p| p["name"].as_str().unwrap_or("") == port_name);
        let number = number.and_then(|p| p["port"].as_u64()).and_then(|p| u16::try_from(p).ok());
        let Some(port) = number else { continue };
        let ready = list("endpoints").iter().filter(|e| e["conditions"]["ready"].as_bool() != Some(false));
        candidates.extend(ready.filter_map(|e| Some((e["addresses"][0].as_str()?.to_owned(), port))));
    }
    let chosen = usize::try_from(base::random::below(candidates.len() as u64)).ok()?;
    candidates.into_iter().nth(chosen)
}
