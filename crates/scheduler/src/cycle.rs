//! [`decide`]: one pod, the node table, and out comes a node or the reasons why there is none. Pure.

use std::collections::BTreeMap;

use crate::filters::{Refusal, check};
use crate::neighbours::Neighbours;
use crate::nodes::{NodeInfo, Nodes};
use crate::pod::PodInfo;
use crate::score::scores;

/// Below this many nodes all of them are looked at (upstream: `minFeasibleNodesToFind`).
const ENOUGH_NODES: usize = 100;

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Bind(String),
    /// The condition's and the event's message.
    Unschedulable(String),
}

/// Where the search begins and how ties end. Comes from outside, so that a decision can be repeated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chance {
    /// The position to begin at; moved on by the search, so that all nodes get their turn.
    pub start: usize,
    pub tie: u64,
}

/// Finds a node for `pod`. The second value is where the next search should begin.
pub fn decide(pod: &PodInfo, nodes: &Nodes, chance: Chance) -> (Decision, usize) {
    let slots = nodes.slots();
    let present = nodes.count();
    if present == 0 {
        return (Decision::Unschedulable("no nodes available to schedule pods".into()), 0);
    }
    let wanted = enough(present);
    let neighbours = Neighbours::of(pod, nodes);
    let mut candidates: Vec<&NodeInfo> = Vec::new();
    let mut refusals: Vec<(&NodeInfo, Refusal)> = Vec::new();
    let mut looked_at = 0;
    for step in 0..slots.len() {
        let node = &slots[(chance.start + step) % slots.len()];
        looked_at = step + 1;
        if !node.present {
            continue;
        }
        match check(pod, node, &neighbours) {
            None => candidates.push(node),
            Some(refusal) => refusals.push((node, refusal)),
        }
        if candidates.len() >= wanted {
            break;
        }
    }
    let next = (chance.start + looked_at) % slots.len();
    if candidates.is_empty() {
        return (Decision::Unschedulable(explain(pod, nodes, &refusals)), next);
    }
    (Decision::Bind(best(pod, &candidates, nodes, chance.tie).to_owned()), next)
}

fn best<'n>(pod: &PodInfo, candidates: &[&'n NodeInfo], nodes: &Nodes, tie: u64) -> &'n str {
    if let [only] = candidates {
        return &only.name;
    }
    let scores = scores(pod, candidates, nodes);
    let highest = scores.iter().copied().max().unwrap_or(0);
    let equals: Vec<&&NodeInfo> = candidates
        .iter()
        .zip(&scores)
        .filter(|(_, score)| **score == highest)
        .map(|(node, _)| node)
        .collect();
    let pick = usize::try_from(tie % equals.len() as u64).unwrap_or(0);
    &equals[pick].name
}

/// How many nodes that will do are enough to choose from, as upstream adapts it: all below 100 nodes, then
/// a share falling from 50 % to 5 %.
fn enough(nodes: usize) -> usize {
    if nodes < ENOUGH_NODES {
        return nodes;
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ENOUGH_NODES)
}

/// Upstream's sentence: how many nodes, what each rule said and how often, and whether preemption would help.
fn explain(pod: &PodInfo, nodes: &Nodes, refusals: &[(&NodeInfo, Refusal)]) -> String {
    let present = nodes.count();
    let reasons = histogram(refusals.iter().flat_map(|(_, r)| r.reasons.iter().map(String::as_str)));
    let preemption = if !pod.can_preempt {
        "not eligible due to preemptionPolicy=Never.".to_owned()
    } else if has_victims(pod, nodes, refusals) {
        // Upstream would look for the pods to evict; saying that none was found would be a lie.
        "not implemented by knarr yet, no pod of a lower priority is evicted.".to_owned()
    } else {
        let outlook = histogram(refusals.iter().map(|(_, r)| {
            if r.preemption_may_help {
                "No preemption victims found for incoming pod"
            } else {
                "Preemption is not helpful for scheduling"
            }
        }));
        format!("0/{present} nodes are available: {outlook}.")
    };
    format!(
        "0/{present} nodes are available: {reasons}. no new claims to deallocate, preemption: {preemption}"
    )
}

/// Whether pods of a lower priority are on a node where evicting some might help.
fn has_victims(pod: &PodInfo, nodes: &Nodes, refusals: &[(&NodeInfo, Refusal)]) -> bool {
    let below = nodes.with_pods_below(pod.priority);
    refusals.iter().any(|(node, refusal)| refusal.preemption_may_help && below.contains(node.name.as_str()))
}

/// `2 Insufficient cpu, 1 …`, in the order of the text, as upstream sorts it.
fn histogram<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    let mut lines: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    lines.sort();
    lines.join(", ")
}

#[cfg(test)]
mod tests;
