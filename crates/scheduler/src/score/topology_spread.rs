//! PodTopologySpread: where fewest of the pods lie that the pod's soft constraints mean.

use std::collections::HashSet;

use super::MAX;
use crate::nodes::{NodeInfo, Nodes};
use crate::pod::PodInfo;
use crate::spread::Places;

/// 0 to 100 for each candidate; `None` where the pod has no soft constraint.
pub(super) fn scores(pod: &PodInfo, candidates: &[&NodeInfo], nodes: &Nodes) -> Option<Vec<i64>> {
    let all = Places::of(pod, nodes, false);
    if all.is_empty() {
        return None;
    }
    let weights: Vec<f64> = all.iter().map(|places| weight(places, candidates)).collect();
    let crowd = |node: &NodeInfo| -> Option<i64> {
        let mut sum = 0.0;
        for (places, weight) in all.iter().zip(&weights) {
            sum += places.at(node)? as f64 * weight + (places.constraint.max_skew - 1) as f64;
        }
        Some(sum.round() as i64)
    };
    let crowds: Vec<Option<i64>> = candidates.iter().map(|node| crowd(node)).collect();
    let least = crowds.iter().flatten().min().copied().unwrap_or(0);
    let most = crowds.iter().flatten().max().copied().unwrap_or(0);
    let score = |crowd: Option<i64>| match crowd {
        // Nodes without the labels come last.
        None => 0,
        Some(_) if most == 0 => MAX,
        Some(crowd) => MAX * (most + least - crowd) / most,
    };
    Some(crowds.into_iter().map(score).collect())
}

/// Many small places count for more than few large ones.
fn weight(places: &Places<'_>, candidates: &[&NodeInfo]) -> f64 {
    let key = &places.constraint.topology_key;
    let distinct: HashSet<&String> = candidates.iter().filter_map(|node| node.labels.get(key)).collect();
    ((distinct.len() + 2) as f64).ln()
}
