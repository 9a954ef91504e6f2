//! Gives every node its part of the cluster's pod network (`spec.podCIDR`).
//!
//! What is taken is read from the nodes themselves, so a restart forgets nothing; one worker that waits for
//! its own writes to come back never gives a range twice.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use client::EventType;
use informer::{Action, Cache, Controller, Plan, Round, Sources};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::target::target_of;

/// The prefix length of a node's range, as upstream's default for IPv4.
const NODE_PREFIX: u8 = 24;

/// An IPv4 network of a prefix length of at most 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterCidr {
    first: u32,
    prefix: u8,
}

/// Why a text is no cluster network.
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

/// See the module's documentation. Keys are nodes.
pub struct NodeIpamController {
    cidr: ClusterCidr,
    nodes: Cache<Node>,
}

/// A node without a range, and the ranges of the others.
pub struct Observed {
    cidr: ClusterCidr,
    node: Arc<Node>,
    taken: Vec<String>,
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
        Self { cidr, nodes: sources.primary() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(node) = self.nodes.get_key(round.key) else { return Ok(None) };
        if node.metadata.deletion_timestamp.is_some() || !ranges(&node).is_empty() {
            return Ok(None);
        }
        let taken = self.nodes.list(None).iter().flat_map(|node| ranges(node)).collect();
        Ok(Some(Observed { cidr: self.cidr, node, taken }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let taken: BTreeSet<u32> =
            observed.taken.iter().filter_map(|text| observed.cidr.indices(text)).flatten().collect();
        let Some(free) = (0..observed.cidr.capacity()).find(|index| !taken.contains(index)) else {
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

fn ranges(node: &Node) -> Vec<String> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let mut ranges = spec.pod_cidrs.clone().unwrap_or_default();
    ranges.extend(spec.pod_cidr.clone().filter(|range| !ranges.contains(range)));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(cidr: &str, taken: &[&str]) -> Option<String> {
        let observed = Observed {
            cidr: cidr.parse().expect(cidr),
            node: Arc::default(),
            taken: taken.iter().map(|t| (*t).to_owned()).collect(),
        };
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
    fn cluster_networks_are_checked() {
        for bad in ["", "10.0.0.0", "10.0.0.0/25", "10.0.0.0/7", "fd00::/64", "10.0.0/16"] {
            assert!(bad.parse::<ClusterCidr>().is_err(), "{bad}");
        }
    }
}
