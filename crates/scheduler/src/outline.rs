//! [`of`]: a node with no more than the scheduler reads. Most of a node's object is what its agent reports for people:
//! conditions, addresses, versions; reading it whole costs twice as much.

use std::collections::BTreeMap;

use informer::Cached;
use k8s_openapi::api::core::v1::{ContainerImage, Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

#[derive(Deserialize)]
struct Outline {
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Spec {
    taints: Option<Vec<Taint>>,
    unschedulable: Option<bool>,
}

#[derive(Deserialize)]
struct Status {
    allocatable: Option<BTreeMap<String, Quantity>>,
    images: Option<Vec<ContainerImage>>,
}

/// The node's name, labels, taints, what it has to give and its images; `None` for an object that cannot be read,
/// which is logged.
pub(crate) fn of(node: &Cached<Node>) -> Option<Node> {
    let read = serde_json::from_slice::<Outline>(node.item().json());
    let outline = read
        .inspect_err(
            |error| tracing::error!(node = node.name(), %error, "a node is odd and is left as it was"),
        )
        .ok()?;
    let labels = node.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Some(Node {
        metadata: ObjectMeta {
            name: Some(node.name().to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: outline.spec.map(|spec| NodeSpec {
            taints: spec.taints,
            unschedulable: spec.unschedulable,
            ..NodeSpec::default()
        }),
        status: outline.status.map(|status| NodeStatus {
            allocatable: status.allocatable,
            images: status.images,
            ..NodeStatus::default()
        }),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nodes::Nodes;

    #[test]
    fn the_table_learns_from_it_what_it_learns_from_the_whole_node() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"zone": "a"}, "annotations": {"x": "y"}},
            "spec": {"unschedulable": true, "podCIDR": "10.0.0.0/24", "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {
                "capacity": {"cpu": "9"}, "allocatable": {"cpu": "8", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "images": [{"names": ["i:1"], "sizeBytes": 7}],
            },
        }))
        .expect("a node");
        let (mut whole, mut outlined) = (Nodes::default(), Nodes::default());
        whole.set_node(&node);
        let outline = of(&Cached::of(&node)).expect("a node");
        outlined.set_node(&outline);
        assert_eq!(format!("{:?}", whole.slots()), format!("{:?}", outlined.slots()));
        assert!(!outlined.set_node(&node).any(), "nothing is news in the whole node");
        assert!(of(&Cached::of(&Node::default())).is_some(), "one that says nothing");
    }
}
