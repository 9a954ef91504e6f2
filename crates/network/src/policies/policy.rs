//! What a NetworkPolicy says, as far as IPv4 goes.
//!
//! Pure. Start with [`Policy::of`]. What is absent and what is empty means as upstream says (the API's documentation of
//! NetworkPolicySpec): no peers are all peers, no ports are all ports, and a list whose members match nothing matches
//! nothing.

use std::sync::Arc;

use api::selector::LabelSelector;
use informer::Labels;
use ipnet::Ipv4Net;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ranges::{PortRange, Range, united, united_ports, without};
use crate::protocol::Protocol;

/// Which way a connection goes, as the pod sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];
}

/// A policy. In a direction that it has no rules of, it says nothing; where its list is empty, it lets nothing pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    selector: LabelSelector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

/// What passes: connections with any of the peers to any of the ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub peers: Peers,
    /// All where there are none.
    pub ports: Option<Ports>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peers {
    Everybody,
    /// Pods and addresses; either may be empty.
    These {
        pods: PodPeers,
        blocks: Vec<Range>,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ports {
    pub numbers: Vec<PortRange>,
    /// In order.
    pub names: Vec<(Protocol, String)>,
}

/// Pods that any of the terms selects. Equal ones are equal whatever the order of their terms was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct PodPeers(Vec<PodPeer>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PodPeer {
    pub namespaces: Namespaces,
    pub pods: LabelSelector,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Namespaces {
    All,
    One(Arc<str>),
    Selected(LabelSelector),
}

impl Policy {
    /// What a policy of `namespace` says.
    pub fn of(namespace: &Arc<str>, policy: &NetworkPolicy) -> Self {
        let Some(spec) = &policy.spec else {
            // The API server has none of these; without rules it lets everything pass.
            return Self { selector: LabelSelector::nothing(), ingress: None, egress: None };
        };
        let ingress = spec.ingress.iter().flatten();
        let egress = spec.egress.iter().flatten();
        let of = |peers: &Option<Vec<NetworkPolicyPeer>>, ports: &Option<Vec<NetworkPolicyPort>>| Rule {
            peers: Peers::of(namespace, peers.as_deref().unwrap_or_default()),
            ports: Ports::of(ports.as_deref().unwrap_or_default()),
        };
        Self {
            selector: spec.pod_selector.as_ref().map_or_else(LabelSelector::everything, selector),
            ingress: has(spec, Direction::Ingress)
                .then(|| ingress.map(|rule| of(&rule.from, &rule.ports)).collect()),
            egress: has(spec, Direction::Egress)
                .then(|| egress.map(|rule| of(&rule.to, &rule.ports)).collect()),
        }
    }

    pub fn selects(&self, labels: &Labels) -> bool {
        matches(&self.selector, labels)
    }

    /// Nothing where the policy is not about the direction.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// Whether a policy is about a direction; without types as the API server's default.
fn has(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    match direction {
        Direction::Ingress => types.is_empty() || types.iter().any(|kind| kind == "Ingress"),
        Direction::Egress if types.is_empty() => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
        Direction::Egress => types.iter().any(|kind| kind == "Egress"),
    }
}

impl Peers {
    fn of(namespace: &Arc<str>, peers: &[NetworkPolicyPeer]) -> Self {
        if peers.is_empty() {
            return Self::Everybody;
        }
        let blocks = peers.iter().filter_map(|peer| peer.ip_block.as_ref()).flat_map(block);
        Self::These { pods: PodPeers::of(namespace, peers), blocks: united(blocks.collect()) }
    }
}

impl PodPeers {
    fn of(namespace: &Arc<str>, peers: &[NetworkPolicyPeer]) -> Self {
        let mut terms: Vec<PodPeer> = peers.iter().filter_map(|peer| PodPeer::of(namespace, peer)).collect();
        terms.sort_by_cached_key(|term| format!("{term:?}"));
        terms.dedup();
        Self(terms)
    }

    /// All pods.
    pub fn every() -> Self {
        Self(vec![PodPeer { namespaces: Namespaces::All, pods: LabelSelector::everything() }])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether pods of a namespace may be among them. Of a namespace that is not known yet, only its name counts.
    pub fn reach(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        self.0.iter().any(|term| term.reaches(namespace, labels))
    }

    /// Whether a pod is among them.
    pub fn select(&self, namespace: &str, labels: Option<&Labels>, pod: &Labels) -> bool {
        self.0.iter().any(|term| term.reaches(namespace, labels) && matches(&term.pods, pod))
    }
}

impl PodPeer {
    fn of(namespace: &Arc<str>, peer: &NetworkPolicyPeer) -> Option<Self> {
        if peer.ip_block.is_some() || (peer.pod_selector.is_none() && peer.namespace_selector.is_none()) {
            return None;
        }
        let namespaces = match &peer.namespace_selector {
            Some(namespaces) => Namespaces::Selected(selector(namespaces)),
            None => Namespaces::One(namespace.clone()),
        };
        let pods = peer.pod_selector.as_ref().map_or_else(LabelSelector::everything, selector);
        Some(Self { namespaces, pods })
    }

    fn reaches(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        match &self.namespaces {
            Namespaces::All => true,
            Namespaces::One(one) => **one == *namespace,
            Namespaces::Selected(selector) => labels.is_some_and(|labels| matches(selector, labels)),
        }
    }
}

impl Ports {
    fn of(ports: &[NetworkPolicyPort]) -> Option<Self> {
        if ports.is_empty() {
            return None;
        }
        let mut numbers = Vec::new();
        let mut names = Vec::new();
        for port in ports {
            let Some(protocol) = Protocol::named(port.protocol.as_deref()) else { continue };
            match &port.port {
                None => numbers.push(PortRange { protocol, first: 0, last: u16::MAX }),
                Some(IntOrString::String(name)) => names.push((protocol, name.clone())),
                Some(IntOrString::Int(first)) => {
                    let (first, last) =
                        (u16::try_from(*first), u16::try_from(port.end_port.unwrap_or(*first)));
                    if let (Ok(first), Ok(last)) = (first, last) {
                        numbers.push(PortRange { protocol, first, last });
                    }
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        Some(Self { numbers: united_ports(numbers), names })
    }
}

/// The addresses of a block without those it excepts; none where it is one of IPv6.
fn block(block: &IPBlock) -> Vec<Range> {
    let Ok(net) = block.cidr.parse::<Ipv4Net>() else { return Vec::new() };
    let excepted = block.except.iter().flatten().filter_map(|cidr| cidr.parse::<Ipv4Net>().ok());
    without(net.into(), excepted.map(Range::from).collect())
}

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.matches(|key| labels.get(key))
}

/// One that cannot be read, which the API server does not let in, selects nothing.
fn selector(selector: &v1::LabelSelector) -> LabelSelector {
    let read = serde_json::to_value(selector).map(|value| LabelSelector::from_object(&value));
    match read {
        Ok(Ok(selector)) => selector,
        Ok(Err(error)) => {
            tracing::error!(%error, "a selector of a NetworkPolicy cannot be read");
            LabelSelector::nothing()
        }
        Err(error) => {
            tracing::error!(%error, "a selector of a NetworkPolicy cannot be written as JSON");
            LabelSelector::nothing()
        }
    }
}
