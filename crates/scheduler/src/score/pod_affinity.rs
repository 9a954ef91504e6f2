//! InterPodAffinity: prefers places near to pods that the pod prefers or that prefer the pod, and avoids places near to
//! pods that repel it.

use super::Candidate;
use crate::neighbours::Neighbours;
use crate::profile::MAX;

/// 0 to 100 for each candidate; `None` where nobody has a preference.
pub(super) fn scores(candidates: &[Candidate], neighbours: &Neighbours<'_>) -> Option<Vec<i64>> {
    let felt = neighbours.attraction.iter().filter(|(_, sight)| !sight.figure.is_empty());
    let felt: Vec<_> = felt.collect();
    if felt.is_empty() {
        return None;
    }
    let sums: Vec<i64> = candidates
        .iter()
        .map(|candidate| {
            let pull = |(weight, sight)| weight * neighbours.at(sight, candidate.slot).unwrap_or(0);
            felt.iter().map(|felt| pull(**felt)).sum()
        })
        .collect();
    let (least, most) = (sums.iter().min().copied().unwrap_or(0), sums.iter().max().copied().unwrap_or(0));
    let range = (most - least).max(1);
    Some(sums.iter().map(|sum| (sum - least) * MAX / range).collect())
}
