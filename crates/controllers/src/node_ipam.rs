//! Gives every node its part of the cluster's pod network (`spec.podCIDR`).
//!
//! The taken ranges are read from the nodes themselves, so a restart forgets nothing; there is one worker,
//! which waits for the echo of its own writes, so no range is given twice.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use client::EventType;
use informer::{Action, Cache, Controller, Delta, Plan, Round, Sources};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::node_view::node_view;
use crate::target::target_of;

/// The prefix length of a node's range, as upstream's default for IPv4.
const NODE_PREFIX: u8 = 24;

/// An IPv4 network of a prefix length of at most 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterCidr {
    first: u32,
    prefix: u8,
}

/// Why a text is not a valid cluster network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IPv4 network in CIDR notation with a prefix of 8 to {NODE_PREFIX}")]
pub struct InvalidCidr(String);

impl FromStr for ClusterCidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let invalid = || InvalidCidr(text.to_owned());
        let (first, prefix) = network(text).ok_or_else(invalid)?;
        if !(8..=NODE_PREFIX).contains(&prefix) {
            return Err(invalid());
        }
        Ok(Self { first, prefix })
    }
}

impl ClusterCidr {
    /// How many nodes can have a range.
    fn capacity(self) -> u32 {
        1 << (NODE_PREFIX - self.prefix)
    }

    /// The index of the range that `text` overlaps first, and of the last one; `None` outside the network.
    fn indices(self, text: &str) -> Option<std::ops::RangeInclusive<u32>> {
        let (first, prefix) = network(text)?;
        let last = first | !mask(prefix);
        let end = self.first | !mask(self.prefix);
        if last < self.first || first > end {
            return None;
        }
        let index = |address: u32| (address.clamp(self.first, end) - self.first) >> (32 - NODE_PREFIX);
        Some(index(first)..=index(last))
    }

    fn range(self, index: u32) -> String {
        let address = self.first + (index << (32 - NODE_PREFIX));
        format!("{}/{NODE_PREFIX}", Ipv4Addr::from(address))
    }
}

/// First address and prefix length.
fn network(text: &str) -> Option<(u32, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u8 = prefix.parse().ok().filter(|p| *p <= 32)?;
    let address: Ipv4Addr = address.parse().ok()?;
    Some((u32::from(address) & mask(prefix), prefix))
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The ranges of the cluster's network that nodes have, updated as nodes are added, changed and removed.
#[derive(Debug, Default)]
struct Taken {
    /// How many nodes have a part, by its index.
    nodes: BTreeMap<u32, u32>,
    /// All indices below are taken.
    lowest: u32,
}

impl Taken {
    fn take(&mut self, cidr: ClusterCidr, range: &str) {
        for index in cidr.indices(range).into_iter().flatten() {
            *self.nodes.entry(index).or_default() += 1;
        }
    }

    fn release(&mut self, cidr: ClusterCidr, range: &str) {
        for index in cidr.indices(range).into_iter().flatten() {
            if let Some(count) = self.nodes.get_mut(&index) {
                *count -= 1;
                if *count == 0 {
                    self.nodes.remove(&index);
                    self.lowest = self.lowest.min(index);
                }
            }
        }
    }

    fn first_free(&mut self, cidr: ClusterCidr) -> Option<u32> {
        while self.nodes.contains_key(&self.lowest) {
            self.lowest += 1;
        }
        Some(self.lowest).filter(|index| *index < cidr.capacity())
    }

    fn learn(&mut self, cidr: ClusterCidr, delta: &Delta<Node>) {
        let (gone, come) = match delta {
            Delta::Applied { new, old } => (old.as_ref(), Some(new)),
            Delta::Deleted(old) => (Some(old), None),
        };
        for range in gone.into_iter().flat_map(|node| node_view(node).ranges.clone()) {
            self.release(cidr, &range);
        }
        for range in come.into_iter().flat_map(|node| node_view(node).ranges.clone()) {
            self.take(cidr, &range);
        }
    }
}

/// See the module's documentation. Keys are nodes.
pub struct NodeIpamController {
    cidr: ClusterCidr,
    nodes: Cache<Node>,
    taken: Arc<Mutex<Taken>>,
}

/// A node without a range, and the first range that is free.
pub struct Observed {
    cidr: ClusterCidr,
    node: Arc<Node>,
    free: Option<u32>,
}

impl Controller for NodeIpamController {
    const NAME: &'static str = "node-ipam-controller";
    const ACCOUNT: &'static str = "node-controller";
    const EVENT_SOURCE: &'static str = "cidrAllocator";
    /// One: two workers could choose the same range.
    const WORKERS: usize = 1;
    type Config = ClusterCidr;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, cidr: ClusterCidr) -> Self {
        let taken = Arc::new(Mutex::new(Taken::default()));
        let learning = taken.clone();
        let nodes = sources.mapped(move |delta: &Delta<Node>| {
            learning.lock().unwrap_or_else(PoisonError::into_inner).learn(cidr, delta);
            let node = delta.object();
            if node_view(node).ranges.is_empty() { vec![node.key.clone()] } else { Vec::new() }
        });
        Self { cidr, nodes, taken }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(node) = self.nodes.find(round.key) else { return Ok(None) };
        if node.is_being_deleted() || !node_view(&node).ranges.is_empty() {
            return Ok(None);
        }
        let free = self.taken.lock().unwrap_or_else(PoisonError::into_inner).first_free(self.cidr);
        Ok(node.typed().map(|node| Observed { cidr: self.cidr, node: node.clone(), free }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let Some(free) = observed.free else {
            let name = observed.node.metadata.name.as_deref().unwrap_or("");
            plan.then(Action::Event {
                about: client::reference(&*observed.node),
                event_type: EventType::Normal,
                reason: "CIDRNotAvailable",
                message: format!("Node {name} status is now: CIDRNotAvailable"),
            });
            return plan.because("the cluster's network is used up");
        };
        let range = observed.cidr.range(free);
        plan.then(Action::MergePatch {
            target: target_of(&*observed.node),
            patch: json!({"spec": {"podCIDR": range, "podCIDRs": [range]}}),
        });
        plan.because(format!("range {range} is free"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(cidr: &str, taken: &[&str]) -> Option<String> {
        let cidr: ClusterCidr = cidr.parse().expect(cidr);
        let mut held = Taken::default();
        for range in taken {
            held.take(cidr, range);
        }
        let observed = Observed { cidr, node: Arc::default(), free: held.first_free(cidr) };
        match &NodeIpamController::reconcile(&observed, jiff::Timestamp::UNIX_EPOCH).actions[..] {
            [Action::MergePatch { patch, .. }] => patch["spec"]["podCIDR"].as_str().map(str::to_owned),
            _ => None,
        }
    }

    #[test]
    fn the_first_free_range_is_given() {
        assert_eq!(given("10.42.0.0/16", &[]).as_deref(), Some("10.42.0.0/24"));
        assert_eq!(given("10.42.0.0/16", &["10.42.0.0/24", "10.42.2.0/24"]).as_deref(), Some("10.42.1.0/24"));
        // What does not fit the grid, or lies outside, is respected and harmless.
        assert_eq!(
            given("10.42.0.0/16", &["10.42.0.0/23", "192.168.0.0/24", "x"]).as_deref(),
            Some("10.42.2.0/24")
        );
        assert_eq!(given("10.42.0.0/23", &["10.42.0.0/24", "10.42.1.0/24"]), None);
        assert_eq!(given("10.42.7.0/24", &["10.0.0.0/8"]), None);
    }

    #[test]
    fn a_range_is_free_again_when_no_node_has_it() {
        let cidr: ClusterCidr = "10.42.0.0/16".parse().expect("a network");
        let mut taken = Taken::default();
        for range in ["10.42.0.0/24", "10.42.0.0/24", "10.42.1.0/24"] {
            taken.take(cidr, range);
        }
        assert_eq!(taken.first_free(cidr), Some(2));
        taken.release(cidr, "10.42.0.0/24");
        assert_eq!(taken.first_free(cidr), Some(2), "another node has it still");
        taken.release(cidr, "10.42.0.0/24");
        assert_eq!(taken.first_free(cidr), Some(0));
    }

    #[test]
    fn cluster_networks_are_checked() {
        for bad in ["", "10.0.0.0", "10.0.0.0/25", "10.0.0.0/7", "fd00::/64", "10.0.0/16"] {
            assert!(bad.parse::<ClusterCidr>().is_err(), "{bad}");
        }
    }
}
