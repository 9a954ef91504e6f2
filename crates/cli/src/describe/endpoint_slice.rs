//! EndpointSlice.

use serde_json::Value;

use super::events;
use super::fields::{Fields as _, or};
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

const UNSET: &str = "<unset>";

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let slice = view.object;
    metadata::head(text, slice);
    put!(text, 0, "AddressType:\t{}", slice.text("addressType"));
    let ports = slice.items("ports");
    if ports.is_empty() {
        put!(text, 0, "Ports: <unset>");
    } else {
        put!(text, 0, "Ports:");
        put!(text, 1, "Name\tPort\tProtocol");
        put!(text, 1, "----\t----\t--------");
    }
    for port in ports {
        let number = port.at("port").and_then(Value::as_i64);
        let number = number.map_or_else(|| UNSET.to_owned(), |number| number.to_string());
        put!(text, 1, "{}\t{number}\t{}", or(port.text("name"), UNSET), port.text("protocol"));
    }
    let endpoints = slice.items("endpoints");
    put!(text, 0, "Endpoints:{}", if endpoints.is_empty() { " <none>" } else { "" });
    for endpoint in endpoints {
        self::endpoint(text, endpoint);
    }
    events::write(view, text);
    Ok(())
}

fn endpoint(text: &mut Text, endpoint: &Value) {
    let given = |path: &str| endpoint.at(path).and_then(Value::as_str).unwrap_or(UNSET);
    put!(text, 1, "- Addresses:\t{}", or(&endpoint.texts("addresses").join(", "), "<none>"));
    put!(text, 2, "Conditions:");
    let ready = endpoint.at("conditions.ready").and_then(Value::as_bool);
    put!(text, 3, "Ready:\t{}", ready.map_or(UNSET, |ready| if ready { "true" } else { "false" }));
    put!(text, 2, "Hostname:\t{}", given("hostname"));
    if let Some(target) = endpoint.at("targetRef") {
        put!(text, 2, "TargetRef:\t{}/{}", target.text("kind"), target.text("name"));
    }
    put!(text, 2, "NodeName:\t{}", given("nodeName"));
    put!(text, 2, "Zone:\t{}", given("zone"));
}
