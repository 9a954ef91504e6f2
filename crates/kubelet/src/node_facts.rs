//! Facts about this node (its resources and addresses), shared by all modules that pass them to pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::quantity;
use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::pressure::Condition;

/// What of the node's own object counts for pods that are to run here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnNode {
    pub name: String,
    uid: String,
    version: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// Whether its runtime gives processes no groups but those that a pod asks for; `None` until it was asked.
    pub has_strict_groups: Option<bool>,
}

impl OwnNode {
    pub fn of(node: &Node) -> Self {
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            version: node.metadata.resource_version.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            has_strict_groups: node
                .status
                .as_ref()
                .and_then(|status| status.features.as_ref()?.supplemental_groups_policy),
        }
    }

    /// Whether this is an older version of the same object. Versions that are no numbers say nothing of their order.
    fn is_older_than(&self, other: &Self) -> bool {
        let number = |node: &Self| node.version.parse::<u64>().ok();
        let versions = number(self).zip(number(other));
        self.uid == other.uid && versions.is_some_and(|(own, other)| own < other)
    }
}

/// The newest that is known of the node's own object. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct OwnNodeCell(Arc<ArcSwap<OwnNode>>);

impl OwnNodeCell {
    pub fn load(&self) -> Arc<OwnNode> {
        self.0.load_full()
    }

    /// The object is this now, unless a newer version is known: it is read and followed at once.
    pub fn learn(&self, node: OwnNode) {
        let node = Arc::new(node);
        self.0.rcu(|known| if node.is_older_than(known) { known.clone() } else { node.clone() });
    }
}

/// The node's resources and addresses. Reads never wait.
#[derive(Debug, Default)]
pub struct NodeFacts {
    allocatable: ArcSwap<BTreeMap<String, Quantity>>,
    memory_capacity_bytes: i64,
    host_ips: ArcSwap<Vec<String>>,
    pressure: ArcSwap<BTreeSet<Condition>>,
    own: OwnNodeCell,
}

impl NodeFacts {
    pub fn new(
        allocatable: BTreeMap<String, Quantity>,
        memory_capacity_bytes: i64,
        host_ips: Vec<String>,
        own: OwnNodeCell,
    ) -> Self {
        Self {
            allocatable: ArcSwap::from_pointee(allocatable),
            memory_capacity_bytes,
            host_ips: ArcSwap::from_pointee(host_ips),
            pressure: ArcSwap::default(),
            own,
        }
    }

    /// The node's object as it is known now.
    pub fn own(&self) -> Arc<OwnNode> {
        self.own.load()
    }

    /// The node's object is this now, unless a newer version is known.
    pub fn set_own(&self, own: OwnNode) {
        self.own.learn(own);
    }

    /// All the memory the machine has.
    pub fn memory_capacity_bytes(&self) -> i64 {
        self.memory_capacity_bytes
    }

    /// What pods may use, by resource name.
    pub fn allocatable(&self) -> BTreeMap<String, Quantity> {
        BTreeMap::clone(&self.allocatable.load())
    }

    /// How much pods may use of one resource in its own unit (bytes of memory); 0 where the node has none.
    pub fn allocatable_amount(&self, resource: &str) -> u64 {
        let allocatable = self.allocatable.load();
        let parsed = allocatable.get(resource).and_then(|text| text.0.parse::<quantity::Quantity>().ok());
        parsed.and_then(|amount| u64::try_from(amount.value()).ok()).unwrap_or_default()
    }

    /// The node's addresses, the primary one first.
    pub fn host_ips(&self) -> Arc<Vec<String>> {
        self.host_ips.load_full()
    }

    /// What the node is short of.
    pub fn pressure(&self) -> Arc<BTreeSet<Condition>> {
        self.pressure.load_full()
    }

    pub fn set_pressure(&self, conditions: BTreeSet<Condition>) {
        self.pressure.store(Arc::new(conditions));
    }

    pub fn set_host_ips(&self, ips: Vec<String>) {
        self.host_ips.store(Arc::new(ips));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(uid: &str, version: &str, disk: &str) -> OwnNode {
        let metadata = json!({"uid": uid, "resourceVersion": version, "labels": {"disk": disk}});
        OwnNode::of(&serde_json::from_value(json!({"metadata": metadata})).expect("a node"))
    }

    #[test]
    fn an_older_version_of_the_node_changes_nothing() {
        let cell = OwnNodeCell::default();
        let told = |uid: &str, version: &str, disk: &str| {
            cell.learn(node(uid, version, disk));
            cell.load().labels["disk"].clone()
        };
        assert_eq!(told("u", "9", "old"), "old");
        assert_eq!(told("u", "10", "new"), "new");
        assert_eq!(told("u", "9", "old"), "new");
        assert_eq!(told("u", "10", "same"), "same");
        assert_eq!(told("v", "2", "other"), "other", "the node was made anew");
        assert_eq!(told("v", "x", "unknown"), "unknown");
    }
}
