//! [`Nodes`]: the table of nodes with what runs on each, changed one pod or node at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use pods::{Amounts, HostPort};

use crate::pod::PodInfo;
use crate::relations::{Namespaces, Relations};

/// A node and what is placed on it.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    pub name: String,
    /// The node object is there; pods may be known before their node is.
    pub present: bool,
    pub labels: HashMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Amounts,
    pub allowed_pods: i64,
    pub requested: Amounts,
    /// CPU and memory with assumed minimums.
    pub nonzero: (i64, i64),
    pub pods: i64,
    pub ports: Vec<HostPort>,
}

impl NodeInfo {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

/// What a placed pod takes, kept to be given back exactly.
#[derive(Debug, Clone)]
struct Placed {
    slot: usize,
    requests: Amounts,
    nonzero: (i64, i64),
    ports: Vec<HostPort>,
    priority: i32,
    relations: Arc<Relations>,
}

/// What a pod leaves behind.
#[derive(Debug)]
pub struct Departure {
    slot: usize,
    pub relations: Arc<Relations>,
}

/// A pod that came to a node, or is another than it was there.
#[derive(Debug)]
pub struct Arrival {
    /// What it was before.
    pub instead_of: Option<Departure>,
}

/// All nodes, by position; positions of nodes that are gone are used again.
#[derive(Debug, Default)]
pub struct Nodes {
    slots: Vec<NodeInfo>,
    by_name: HashMap<String, usize>,
    /// By pod uid.
    placed: HashMap<String, Placed>,
    /// The uids of placed pods that say something about other pods.
    with_terms: HashSet<String>,
    /// The labels of namespaces, which terms of pods select by.
    pub namespaces: Namespaces,
}

impl Nodes {
    /// Nodes that are present.
    pub fn iter(&self) -> impl Iterator<Item = &NodeInfo> {
        self.slots.iter().filter(|node| node.present)
    }

    /// All positions, present or not.
    pub fn slots(&self) -> &[NodeInfo] {
        &self.slots
    }

    pub fn count(&self) -> usize {
        self.iter().count()
    }

    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.by_name.get(name).map(|slot| &self.slots[*slot]).filter(|node| node.present)
    }

    /// The pods on nodes that are present, each with its node.
    pub fn placed(&self) -> impl Iterator<Item = (&Relations, &NodeInfo)> {
        self.placed.values().filter_map(|placed| self.on_its_node(placed))
    }

    /// Those of them that say something about other pods.
    pub fn placed_with_terms(&self) -> impl Iterator<Item = (&Relations, &NodeInfo)> {
        self.with_terms.iter().filter_map(|uid| self.on_its_node(self.placed.get(uid)?))
    }

    /// The names of nodes with pods of a lower priority.
    pub fn with_pods_below(&self, priority: i32) -> HashSet<&str> {
        let below = self.placed.values().filter(|placed| placed.priority < priority);
        below.map(|placed| self.slots[placed.slot].name.as_str()).collect()
    }

    fn on_its_node<'a>(&'a self, placed: &'a Placed) -> Option<(&'a Relations, &'a NodeInfo)> {
        let node = &self.slots[placed.slot];
        node.present.then_some((&*placed.relations, node))
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let fresh = NodeInfo { name: name.to_owned(), ..NodeInfo::default() };
        let free = self.slots.iter().position(|node| !node.present && node.pods == 0);
        let slot = match free {
            Some(slot) => {
                self.by_name.remove(&self.slots[slot].name);
                self.slots[slot] = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                self.slots.len() - 1
            }
        };
        self.by_name.insert(name.to_owned(), slot);
        slot
    }

    /// A node came or changed.
    pub fn set_node(&mut self, node: &Node) {
        let slot = self.slot(node.metadata.name.as_deref().unwrap_or(""));
        let info = &mut self.slots[slot];
        let spec = node.spec.clone().unwrap_or_default();
        let allocatable = node.status.as_ref().and_then(|s| s.allocatable.clone()).unwrap_or_default();
        info.present = true;
        info.labels = node.metadata.labels.clone().unwrap_or_default().into_iter().collect();
        info.taints = spec.taints.unwrap_or_default();
        info.unschedulable = spec.unschedulable.unwrap_or(false);
        info.allowed_pods = allocatable
            .get("pods")
            .and_then(|q| q.0.parse::<api::quantity::Quantity>().ok())
            .map_or(0, |q| q.value());
        info.allocatable = Amounts::from_list(&allocatable);
    }

    /// The node that a pod has left.
    pub fn left_by(&self, departure: &Departure) -> &NodeInfo {
        &self.slots[departure.slot]
    }

    /// A node is gone. What ran there is remembered until its pods are gone too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(slot) = self.by_name.get(name) {
            self.slots[*slot].present = false;
        }
    }

    /// A pod is on a node, or is about to be. Doing it again changes nothing, and answers `None`.
    pub fn place(&mut self, pod: &PodInfo, node: &str) -> Option<Arrival> {
        let mut instead_of = None;
        if let Some(placed) = self.placed.get_mut(&pod.uid) {
            if self.slots[placed.slot].name == node
                && placed.requests == pod.requests
                && placed.relations == pod.relations
            {
                return None;
            }
            instead_of = self.remove_pod(&pod.uid);
        }
        let slot = self.slot(node);
        let info = &mut self.slots[slot];
        info.requested.add(&pod.requests);
        info.nonzero.0 += pod.nonzero.0;
        info.nonzero.1 += pod.nonzero.1;
        info.pods += 1;
        info.ports.extend(pod.host_ports.iter().cloned());
        let placed = Placed {
            slot,
            requests: pod.requests.clone(),
            nonzero: pod.nonzero,
            ports: pod.host_ports.clone(),
            priority: pod.priority,
            relations: Arc::clone(&pod.relations),
        };
        if placed.relations.has_terms() {
            self.with_terms.insert(pod.uid.clone());
        }
        self.placed.insert(pod.uid.clone(), placed);
        Some(Arrival { instead_of })
    }

    /// A pod is gone, has ended, or was not bound after all. Answers what it leaves, if it was placed.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Departure> {
        let placed = self.placed.remove(uid)?;
        self.with_terms.remove(uid);
        let info = &mut self.slots[placed.slot];
        info.requested.subtract(&placed.requests);
        info.nonzero.0 -= placed.nonzero.0;
        info.nonzero.1 -= placed.nonzero.1;
        info.pods -= 1;
        for port in &placed.ports {
            if let Some(at) = info.ports.iter().position(|held| held == port) {
                info.ports.swap_remove(at);
            }
        }
        Some(Departure { slot: placed.slot, relations: placed.relations })
    }
}
