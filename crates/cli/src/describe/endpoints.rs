//! Endpoints.

use serde_json::Value;

use super::events;
use super::fields::{Fields as _, or};
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    metadata::head(text, view.object);
    put!(text, 0, "Subsets:");
    for subset in view.object.items("subsets") {
        for (title, field) in [("Addresses", "addresses"), ("NotReadyAddresses", "notReadyAddresses")] {
            let addresses: Vec<&str> = subset.items(field).iter().map(|address| address.text("ip")).collect();
            put!(text, 1, "{title}:\t{}", or(&addresses.join(","), "<none>"));
        }
        ports(text, subset.items("ports"));
        put!(text, 0, "");
    }
    events::write(view, text);
    Ok(())
}

fn ports(text: &mut Text, ports: &[Value]) {
    if ports.is_empty() {
        return;
    }
    put!(text, 1, "Ports:");
    put!(text, 2, "Name\tPort\tProtocol");
    put!(text, 2, "----\t----\t--------");
    for port in ports {
        let name = or(port.text("name"), "<unset>");
        put!(text, 2, "{name}\t{}\t{}", port.number("port"), port.text("protocol"));
    }
}
