//! The rules that say no. One file each; [`check`] asks them in upstream's order and stops at the first node-wide
//! refusal, as upstream does.

mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources;
mod pod_affinity;
mod taints;
mod topology_spread;
mod unschedulable;

pub use node_affinity::fits as fits_affinity;
pub use taints::fits as fits_taints;

use crate::neighbours::Neighbours;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

/// Why a node will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In upstream's words; several for resources that are short.
    pub reasons: Vec<String>,
    /// Whether evicting other pods could make room.
    pub preemption_may_help: bool,
}

impl Refusal {
    fn lasting(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], preemption_may_help: false }
    }

    fn passing(reasons: Vec<String>) -> Self {
        Self { reasons, preemption_may_help: true }
    }
}

type Rule = fn(&PodInfo, &NodeInfo) -> Option<Refusal>;

/// Upstream's default filter plugins that look at the node alone, in their order.
const RULES: [Rule; 6] = [
    unschedulable::refuse,
    node_name::refuse,
    taints::refuse,
    node_affinity::refuse,
    node_ports::refuse,
    node_resources::refuse,
];

type SocialRule = fn(&PodInfo, &NodeInfo, &Neighbours<'_>) -> Option<Refusal>;

/// Those that look at the pods around it too; they come last.
const SOCIAL_RULES: [SocialRule; 2] = [topology_spread::refuse, pod_affinity::refuse];

/// The first rule's refusal, or `None` when the node will do.
pub fn check(pod: &PodInfo, node: &NodeInfo, neighbours: &Neighbours<'_>) -> Option<Refusal> {
    check_node(pod, node).or_else(|| SOCIAL_RULES.iter().find_map(|rule| rule(pod, node, neighbours)))
}

/// The same without the rules about other pods.
pub fn check_node(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    RULES.iter().find_map(|rule| rule(pod, node))
}
