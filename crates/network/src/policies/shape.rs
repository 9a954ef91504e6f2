//! [`Shape`]: the rules that hold for a pod in one direction. Pods to which the same rules apply have one shape, and
//! share a chain of the kernel.

use std::collections::HashSet;
use std::sync::Arc;

use super::groups::Group;
use super::pod::Pod;
use super::policy::{Direction, Peers, PodPeers, Policy, Rule};
use super::ranges::{PortRange, Range, united_ports};

/// Alternatives, without doubles; where there are none, nothing passes.
pub(super) type Shape = Vec<Pass>;

/// What passes: connections with these to these ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pass {
    pub who: Who,
    /// All where there are none.
    pub ports: Option<Arc<[PortRange]>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Everybody,
    Group(Arc<Group>),
    Blocks(Arc<[Range]>),
}

/// The shape of a pod that these policies select; nothing where the pod is not isolated, or everything passes.
pub(super) fn shape<'p>(
    pod: &Pod,
    policies: impl Iterator<Item = &'p Policy>,
    direction: Direction,
) -> Option<Shape> {
    let mut is_isolated = false;
    let mut seen = HashSet::new();
    let mut shape = Vec::new();
    for rules in policies.filter_map(|policy| policy.rules(direction)) {
        is_isolated = true;
        for rule in rules {
            passes(rule, pod, direction, |pass| {
                if seen.insert(pass.clone()) {
                    shape.push(pass);
                }
            });
        }
    }
    let all = Pass { who: Who::Everybody, ports: None };
    (is_isolated && !seen.contains(&all)).then_some(shape)
}

fn passes(rule: &Rule, pod: &Pod, direction: Direction, mut pass: impl FnMut(Pass)) {
    let names = rule.ports.as_ref().map(|ports| &ports.names[..]).unwrap_or_default();
    let numbers = rule.ports.as_ref().map(|ports| match direction {
        Direction::Egress => ports.numbers.clone(),
        // A name is one of the pod's own ports.
        Direction::Ingress => {
            let own = names.iter().flat_map(|(protocol, name)| {
                let range = |number| PortRange { protocol: *protocol, first: number, last: number };
                pod.numbers(*protocol, name).map(range)
            });
            united_ports(ports.numbers.iter().copied().chain(own))
        }
    });
    let group = |peers: &PodPeers, names: &[_]| {
        Who::Group(Arc::new(Group { peers: peers.clone(), names: names.to_vec() }))
    };
    // Ports that no number is known of are none, not all.
    if numbers.as_ref().is_none_or(|numbers| !numbers.is_empty()) {
        let ports: Option<Arc<[PortRange]>> = numbers.map(Into::into);
        match &rule.peers {
            Peers::Everybody => pass(Pass { who: Who::Everybody, ports }),
            Peers::These { pods, blocks } => {
                if !pods.is_empty() {
                    pass(Pass { who: group(pods, &[]), ports: ports.clone() });
                }
                if !blocks.is_empty() {
                    pass(Pass { who: Who::Blocks(blocks.clone().into()), ports });
                }
            }
        }
    }
    // A name is a port of each peer that has it. Addresses that are no pods' have no names.
    if direction == Direction::Egress && !names.is_empty() {
        let peers = match &rule.peers {
            Peers::Everybody => PodPeers::every(),
            Peers::These { pods, .. } => pods.clone(),
        };
        if !peers.is_empty() {
            pass(Pass { who: group(&peers, names), ports: None });
        }
    }
}
