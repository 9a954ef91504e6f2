//! [`Merits`]: what can be said of a node for a pod without looking at other nodes; `score` compares nodes by it.

use pods::Amounts;

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::profile::{MAX, Strategy, Weighed};

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
    let weights = &pod.profile.weights;
    let mut resources = 0;
    if weights.resources != 0 {
        resources += weights.resources * allocation(pod, node);
    }
    if weights.balance != 0 {
        resources += weights.balance * balance(pod, node);
    }
    Merits {
        resources,
        preferred: matching.map(|preference| preference.weight).sum(),
        intolerable: intolerable(pod, node),
    }
}

/// How the profile's strategy values the use of resources after the pod; a resource that the node does not have, and
/// an extended one that the pod does not ask for, does not count.
fn allocation(pod: &Needs, node: &NodeInfo) -> i64 {
    let (mut sum, mut weights) = (0, 0);
    for Weighed { name, weight } in &pod.profile.weighed {
        let (capacity, used) = match name.as_str() {
            "cpu" => (node.allocatable.cpu_milli, node.nonzero.0 + pod.nonzero.0),
            "memory" => (node.allocatable.memory_bytes, node.nonzero.1 + pod.nonzero.1),
            _ => {
                let (capacity, requested, asked) = amounts(name, pod, node);
                (if asked == 0 && is_extended(name) { 0 } else { capacity }, requested + asked)
            }
        };
        if capacity <= 0 {
            continue;
        }
        if let Some(score) = pod.profile.score(used, capacity) {
            sum += score * weight;
            weights += weight;
        }
    }
    match (&pod.profile.strategy, weights) {
        (_, 0) => 0,
        (Strategy::ByUtilization(_), _) => (sum as f64 / weights as f64).round() as i64,
        _ => sum / weights,
    }
}

/// What there is of a resource, what of it is requested, and what the pod asks for.
fn amounts(resource: &str, pod: &Needs, node: &NodeInfo) -> (i64, i64, i64) {
    let of = |amounts: &Amounts| match resource {
        "cpu" => amounts.cpu_milli,
        "memory" => amounts.memory_bytes,
        "ephemeral-storage" => amounts.ephemeral_bytes,
        _ => amounts.scalar(resource),
    };
    (of(&node.allocatable), of(&node.requested), of(&pod.requests))
}

/// How alike the used shares of the resources are after the pod. Pods that ask for none of them change nothing.
fn balance(pod: &Needs, node: &NodeInfo) -> i64 {
    let each = || pod.profile.balanced.iter().map(|resource| (resource, amounts(resource, pod, node)));
    if each().all(|(_, (_, _, asked))| asked == 0) {
        return 0;
    }
    let shares = || {
        let counted = each().filter(|(resource, (capacity, _, asked))| {
            *capacity > 0 && (*asked > 0 || !is_extended(resource))
        });
        counted
            .map(|(_, (capacity, requested, asked))| ((requested + asked) as f64 / capacity as f64).min(1.0))
    };
    let (count, sum) = shares().fold((0.0, 0.0), |(count, sum), share| (count + 1.0, sum + share));
    if count < 2.0 {
        return MAX;
    }
    let mean = sum / count;
    let deviation = (shares().map(|share| (share - mean).powi(2)).sum::<f64>() / count).sqrt();
    ((1.0 - deviation) * MAX as f64) as i64
}

fn is_extended(resource: &str) -> bool {
    !matches!(resource, "cpu" | "memory" | "ephemeral-storage")
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
