//! PodTopologySpread: prefers places with the fewest pods that the pod's soft constraints select.

use super::Candidate;
use crate::neighbours::{Even, Neighbours};
use crate::profile::MAX;
use crate::topology::NOWHERE;

/// 0 to 100 for each candidate; `None` where the pod has no soft constraint.
pub(super) fn scores(candidates: &[Candidate], neighbours: &Neighbours<'_>) -> Option<Vec<i64>> {
    let all = &neighbours.rather_even;
    if all.is_empty() {
        return None;
    }
    let weights: Vec<f64> = all.iter().map(|even| weight(even, neighbours, candidates)).collect();
    let crowd = |slot: usize| -> Option<i64> {
        let mut sum = 0.0;
        for (even, weight) in all.iter().zip(&weights) {
            let Some(there) = neighbours.at(even.sight, slot) else {
                if even.constraint.tolerates_missing {
                    continue;
                }
                return None;
            };
            sum += there as f64 * weight + (even.constraint.max_skew - 1) as f64;
        }
        Some(sum.round() as i64)
    };
    let crowds: Vec<Option<i64>> = candidates.iter().map(|candidate| crowd(candidate.slot)).collect();
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
fn weight(even: &Even<'_>, neighbours: &Neighbours<'_>, candidates: &[Candidate]) -> f64 {
    let places = candidates.iter().map(|candidate| neighbours.place(even, candidate.slot));
    let mut places: Vec<u32> = places.filter(|place| *place != NOWHERE).collect();
    places.sort_unstable();
    places.dedup();
    ((places.len() + 2) as f64).ln()
}
