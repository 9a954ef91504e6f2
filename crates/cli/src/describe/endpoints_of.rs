//! The endpoints of a Service in one line.

use serde_json::Value;

use super::fields::Fields as _;
use super::related::{RelatedError, ResourceName};
use super::view::View;

const SLICES: ResourceName<'_> =
    ResourceName { group: "discovery.k8s.io", version: "v1", resource: "endpointslices" };
/// Further ones are counted.
const MAX_SHOWN: usize = 3;

/// The slices of a Service.
///
/// # Errors
/// When they cannot be listed.
pub fn slices(view: &View<'_>, service: &str) -> Result<Vec<Value>, RelatedError> {
    view.neighbours(SLICES, &format!("kubernetes.io/service-name={service}"))
}

/// The ready endpoints of a port: `10.0.0.1:80,10.0.0.2:80`.
pub fn shown(slices: &[Value], port_name: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for slice in slices {
        let ports = slice.items("ports");
        // A headless Service may have no ports.
        if ports.is_empty() {
            all.extend(ready(slice).map(str::to_owned));
        }
        for port in ports.iter().filter(|port| port.text("name") == port_name) {
            all.extend(ready(slice).map(|address| joined(address, port.number("port"))));
        }
    }
    let more = all.len().saturating_sub(MAX_SHOWN);
    all.truncate(MAX_SHOWN);
    let list = all.join(",");
    if more > 0 { format!("{list} + {more} more...") } else { list }
}

fn ready(slice: &Value) -> impl Iterator<Item = &str> {
    slice
        .items("endpoints")
        .iter()
        .filter(|endpoint| endpoint.at("conditions.ready").and_then(Value::as_bool).unwrap_or(true))
        .map(|endpoint| endpoint.texts("addresses").first().copied().unwrap_or_default())
}

fn joined(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}
