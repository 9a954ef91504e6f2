//! CSINode.

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let node = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, node);
    put!(text, 0, "CreationTimestamp:\t{}", view.time(node.at("metadata.creationTimestamp")));
    put!(text, 0, "Spec:");
    if node.has("spec.drivers") {
        put!(text, 1, "Drivers:");
    }
    for driver in node.items("spec.drivers") {
        put!(text, 2, "{}:", driver.text("name"));
        put!(text, 3, "Node ID:\t{}", driver.text("nodeID"));
        if driver.has("allocatable.count") {
            put!(text, 3, "Allocatables:");
            put!(text, 4, "Count:\t{}", driver.number("allocatable.count"));
        }
        if driver.has("topologyKeys") {
            put!(text, 3, "Topology Keys:\t{}", driver.bracketed("topologyKeys"));
        }
    }
    events::write(view, text);
    Ok(())
}
