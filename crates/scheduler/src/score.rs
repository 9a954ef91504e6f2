//! Which of the suitable nodes is best: each rule scores 0 to 100, weighted as upstream does.

mod image_locality;
mod pod_affinity;
mod topology_spread;

use crate::merits::Merits;
use crate::neighbours::Neighbours;
use crate::nodes::Nodes;
use crate::pod::Shape;
use crate::profile::MAX;

/// A suitable node.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub slot: usize,
    pub merits: Merits,
}

/// The score of each candidate, in their order. Rules that would score all nodes alike are left out.
pub fn scores(
    candidates: &[Candidate],
    shape: &Shape,
    neighbours: &Neighbours<'_>,
    nodes: &Nodes,
) -> Vec<i64> {
    let weights = &shape.needs.profile.weights;
    let mut totals: Vec<i64> = candidates.iter().map(|candidate| candidate.merits.resources).collect();
    let each = |of: fn(&Merits) -> i64| candidates.iter().map(move |candidate| of(&candidate.merits));
    if each(|m| m.preferred).any(|score| score != 0) {
        add(&mut totals, weights.node_affinity, normalized(each(|m| m.preferred).collect(), false));
    }
    if each(|m| m.intolerable).any(|score| score != 0) {
        add(&mut totals, weights.taints, normalized(each(|m| m.intolerable).collect(), true));
    }
    if let Some(scores) = pod_affinity::scores(candidates, neighbours) {
        add(&mut totals, weights.pod_affinity, scores);
    }
    if let Some(scores) = topology_spread::scores(candidates, neighbours) {
        add(&mut totals, weights.spread, scores);
    }
    if weights.images != 0
        && let Some(scores) = image_locality::scores(candidates, shape, nodes)
    {
        add(&mut totals, weights.images, scores);
    }
    totals
}

fn add(totals: &mut [i64], weight: i64, scores: Vec<i64>) {
    for (total, score) in totals.iter_mut().zip(scores) {
        *total += weight * score;
    }
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
