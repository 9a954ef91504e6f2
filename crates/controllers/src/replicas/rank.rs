//! Which pods go first when there are too many: those whose loss hurts least
//! (`ActivePodsWithRanks` in `pkg/controller/controller_utils.go`).

use std::cmp::Reverse;
use std::collections::HashMap;

use super::pod::{Phase, Replica};
use jiff::Timestamp;

/// Sorts pods so that those to delete first come first. `neighbours` counts related pods by node: pods on
/// crowded nodes are deleted first.
///
/// Ages count by their power of two, so that among pods of about the same age chance (the uid) decides and
/// not the order they were made in, which often is the order of failure domains.
pub(super) fn sort(pods: &mut [&Replica], neighbours: &HashMap<String, usize>, now: Timestamp) {
    pods.sort_by_cached_key(|candidate| {
        let facts = &candidate.facts;
        let node = &*facts.node_name;
        (
            !node.is_empty(),
            match facts.phase {
                Phase::Running => 2,
                Phase::Unknown => 1,
                _ => 0,
            },
            facts.ready,
            facts.deletion_cost,
            Reverse(neighbours.get(node).copied().unwrap_or(0)),
            // Unknown ages sort as youngest.
            facts.ready_since().map(|since| magnitude(now, since)),
            Reverse(facts.restarts),
            candidate.created.map(|at| magnitude(now, at)),
            candidate.uid.clone(),
        )
    });
}

fn magnitude(now: Timestamp, since: Timestamp) -> u32 {
    let nanos = now.duration_since(since).as_nanos();
    u128::try_from(nanos).ok().filter(|n| *n > 0).map_or(0, u128::ilog2)
}
