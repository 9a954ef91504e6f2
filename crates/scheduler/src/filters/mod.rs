//! The rules by which a node refuses a pod, one file each. [`check`] asks them in upstream's order and stops at the
//! first refusal, as upstream does. The rules about other pods come after these: [`crate::neighbours`].

mod node_affinity;
mod node_ports;
mod node_resources;
mod taints;
mod unschedulable;

pub use taints::tolerated;

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::profile::Filter;
use crate::verdict::{Rule, Verdict};

type Check = fn(&Needs, &NodeInfo) -> Option<Verdict>;

/// Upstream's default filter plugins that look at the node alone, in their order; the pod's own choice of a node comes
/// after the first.
const REST: [(Filter, Check); 4] = [
    (Filter::TaintToleration, taints::refuse),
    (Filter::NodeAffinity, node_affinity::refuse),
    (Filter::NodePorts, node_ports::refuse),
    (Filter::NodeResourcesFit, node_resources::refuse),
];

/// The first rule's refusal, or that the node will do.
pub fn check(pod: &Needs, node: &NodeInfo) -> Verdict {
    check_named(pod, None, node)
}

/// The same for a pod that may name its node itself.
pub fn check_named(pod: &Needs, name: Option<&str>, node: &NodeInfo) -> Verdict {
    let counts = |filter| pod.profile.filters.has(filter);
    let other = || name.is_some_and(|name| name != &*node.name).then(|| Verdict::no(Rule::NodeName));
    let rest = || REST.iter().filter(|(filter, _)| counts(*filter)).find_map(|(_, rule)| rule(pod, node));
    Some(pod)
        .filter(|_| counts(Filter::NodeUnschedulable))
        .and_then(|pod| unschedulable::refuse(pod, node))
        .or_else(|| if counts(Filter::NodeName) { other() } else { None })
        .or_else(rest)
        .unwrap_or(Verdict::FITS)
}
