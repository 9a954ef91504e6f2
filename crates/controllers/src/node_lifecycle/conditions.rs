//! Conditions of a node that gives no sign of life any more.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The conditions that a node agent maintains, which are unknown without the agent.
const KEPT_BY_THE_NODE: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

pub(super) fn find<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == type_)
}

/// The status of the node's Ready condition; empty when it has none.
pub(super) fn ready(node: &Node) -> &str {
    find(node, "Ready").map_or("", |c| &c.status)
}

/// The conditions that have to become Unknown.
pub(super) fn lost(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let mut lost = Vec::new();
    for type_ in KEPT_BY_THE_NODE {
        match find(node, type_) {
            None => lost.push(NodeCondition {
                type_: type_.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
            Some(known) if known.status != "Unknown" => lost.push(NodeCondition {
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusUnknown".to_owned()),
                message: Some("Kubelet stopped posting node status.".to_owned()),
                last_transition_time: Some(Time(now)),
                ..known.clone()
            }),
            Some(_) => {}
        }
    }
    lost
}
