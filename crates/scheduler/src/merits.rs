//! [`Merits`]: what can be said of a node for a pod without looking at other nodes; `score` compares nodes by it.

use crate::node::NodeInfo;
use crate::pod::Needs;

/// The highest score of a rule.
pub const MAX: i64 = 100;

/// The scores of a node that do not depend on other nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Merits {
    /// By free resources and by how evenly they are used.
    pub resources: i64,
    /// The weights of the preferred node affinity terms that match.
    pub preferred: i64,
    /// How many PreferNoSchedule taints are not tolerated.
    pub intolerable: i64,
}

/// The merits of `node` for pods with these needs.
pub fn merits(pod: &Needs, node: &NodeInfo) -> Merits {
    let matching = pod.preferred_nodes.iter().filter(|p| p.nodes.matches(&node.name, |key| node.label(key)));
    Merits {
        resources: least_allocated(pod, node) + balanced_allocation(pod, node),
        preferred: matching.map(|preference| preference.weight).sum(),
        intolerable: intolerable(pod, node),
    }
}

/// What is left of CPU and memory after the pod, on average.
fn least_allocated(pod: &Needs, node: &NodeInfo) -> i64 {
    let left = |free: i64, used: i64| if free <= 0 || used > free { 0 } else { (free - used) * MAX / free };
    let cpu = left(node.allocatable.cpu_milli, node.nonzero.0 + pod.nonzero.0);
    let memory = left(node.allocatable.memory_bytes, node.nonzero.1 + pod.nonzero.1);
    i64::midpoint(cpu, memory)
}

/// How alike the used shares of CPU and memory are after the pod.
fn balanced_allocation(pod: &Needs, node: &NodeInfo) -> i64 {
    let share = |free: i64, used: i64| if free <= 0 { 1.0 } else { (used as f64 / free as f64).min(1.0) };
    let cpu = share(node.allocatable.cpu_milli, node.requested.cpu_milli + pod.requests.cpu_milli);
    let memory =
        share(node.allocatable.memory_bytes, node.requested.memory_bytes + pod.requests.memory_bytes);
    let deviation = ((cpu - memory) / 2.0).abs();
    ((1.0 - deviation) * MAX as f64) as i64
}

fn intolerable(pod: &Needs, node: &NodeInfo) -> i64 {
    let count = node
        .taints
        .iter()
        .filter(|t| t.effect == "PreferNoSchedule")
        .filter(|t| !pod.tolerates(&t.key, t.value.as_deref().unwrap_or(""), &t.effect))
        .count();
    i64::try_from(count).unwrap_or(i64::MAX)
}
