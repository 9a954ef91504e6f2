//! Which of the suitable nodes is best: each rule scores 0 to 100, weighted as upstream does.

mod pod_affinity;
mod topology_spread;

use crate::neighbours::Neighbours;
use crate::node::NodeInfo;
use crate::pod::Needs;

/// The highest score of a rule.
const MAX: i64 = 100;
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;
const WEIGHT_POD_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;

/// The scores of a node that do not depend on other nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Merits {
    /// By free resources and by how evenly they are used.
    resources: i64,
    /// The weights of the preferred node affinity terms that match.
    preferred: i64,
    /// How many PreferNoSchedule taints are not tolerated.
    intolerable: i64,
}

/// A suitable node.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub slot: usize,
    pub merits: Merits,
}

pub fn merits(pod: &Needs, node: &NodeInfo) -> Merits {
    let matching = pod.preferred_nodes.iter().filter(|p| p.nodes.matches(&node.name, |key| node.label(key)));
    Merits {
        resources: least_allocated(pod, node) + balanced_allocation(pod, node),
        preferred: matching.map(|preference| preference.weight).sum(),
        intolerable: intolerable(pod, node),
    }
}

/// The score of each candidate, in their order. Rules that would score all nodes alike are left out.
pub fn scores(candidates: &[Candidate], neighbours: &Neighbours<'_>) -> Vec<i64> {
    let mut totals: Vec<i64> = candidates.iter().map(|candidate| candidate.merits.resources).collect();
    let each = |of: fn(&Merits) -> i64| candidates.iter().map(move |candidate| of(&candidate.merits));
    if each(|m| m.preferred).any(|score| score != 0) {
        add(&mut totals, WEIGHT_AFFINITY, normalized(each(|m| m.preferred).collect(), false));
    }
    if each(|m| m.intolerable).any(|score| score != 0) {
        add(&mut totals, WEIGHT_TAINTS, normalized(each(|m| m.intolerable).collect(), true));
    }
    if let Some(scores) = pod_affinity::scores(candidates, neighbours) {
        add(&mut totals, WEIGHT_POD_AFFINITY, scores);
    }
    if let Some(scores) = topology_spread::scores(candidates, neighbours) {
        add(&mut totals, WEIGHT_SPREAD, scores);
    }
    totals
}

fn add(totals: &mut [i64], weight: i64, scores: Vec<i64>) {
    for (total, score) in totals.iter_mut().zip(scores) {
        *total += weight * score;
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

/// Stretched to 0..=100 by the highest; `reverse`: little is good.
fn normalized(mut scores: Vec<i64>, reverse: bool) -> Vec<i64> {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in &mut scores {
        let share = if highest == 0 { 0 } else { *score * MAX / highest };
        *score = if reverse { MAX - share } else { share };
    }
    scores
}
