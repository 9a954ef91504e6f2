//! InterPodAffinity: near to the pods it prefers, and to those that prefer it; away from the others.

use std::collections::HashMap;

use super::MAX;
use crate::neighbours::place;
use crate::nodes::{NodeInfo, Nodes};
use crate::pod::PodInfo;

/// What a pod that must be near to this one adds (upstream's `hardPodAffinityWeight`).
const REQUIRED_WEIGHT: i64 = 1;

/// 0 to 100 for each candidate; `None` where nobody has a preference.
pub(super) fn scores(pod: &PodInfo, candidates: &[&NodeInfo], nodes: &Nodes) -> Option<Vec<i64>> {
    let own = &*pod.relations;
    let mut weights: HashMap<(&str, &str), i64> = HashMap::new();
    let mut weigh = |term, node, weight: i64| {
        if let Some(place) = place(term, node) {
            *weights.entry(place).or_default() += weight;
        }
    };
    if !own.preferred.is_empty() {
        for (other, node) in nodes.placed() {
            for (weight, term) in
                own.preferred.iter().filter(|(_, term)| term.means(other, &nodes.namespaces))
            {
                weigh(term, node, *weight);
            }
        }
    }
    for (other, node) in nodes.placed_with_terms() {
        let required = other.near.iter().map(|term| (REQUIRED_WEIGHT, term));
        let preferred = other.preferred.iter().map(|(weight, term)| (*weight, term));
        for (weight, term) in required.chain(preferred) {
            if term.means(own, &nodes.namespaces) {
                weigh(term, node, weight);
            }
        }
    }
    if weights.is_empty() {
        return None;
    }
    let sums: Vec<i64> = candidates
        .iter()
        .map(|node| {
            let near = |(key, value): &(&str, &str)| node.labels.get(*key).is_some_and(|held| held == value);
            weights.iter().filter(|(place, _)| near(place)).map(|(_, weight)| weight).sum()
        })
        .collect();
    let (least, most) = (sums.iter().min().copied().unwrap_or(0), sums.iter().max().copied().unwrap_or(0));
    let range = (most - least).max(1);
    Some(sums.iter().map(|sum| (sum - least) * MAX / range).collect())
}
