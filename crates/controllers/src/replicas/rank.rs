//! Which pods go first when there are too many: those whose loss hurts least
//! (`ActivePodsWithRanks` in `pkg/controller/controller_utils.go`).

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::pod;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts pods so that those to delete first stand first. `neighbours` counts related pods by node: crowded
/// nodes lose theirs first.
///
/// Ages count by their power of two, so that among pods of about the same age chance (the uid) decides and
/// not the order they were made in, which often is the order of failure domains.
pub(super) fn sort(pods: &mut [&Pod], neighbours: &HashMap<String, usize>, now: Timestamp) {
    pods.sort_by_cached_key(|candidate| {
        let node = pod::node_name(candidate);
        let ready_since = pod::ready_since(candidate);
        let created = candidate.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (
            !node.is_empty(),
            match pod::phase(candidate) {
                "Running" => 2,
                "Unknown" => 1,
                _ => 0,
            },
            pod::is_ready(candidate),
            deletion_cost(candidate),
            Reverse(neighbours.get(node).copied().unwrap_or(0)),
            // Unknown ages sort as youngest.
            ready_since.map(|since| magnitude(now, since)),
            Reverse(restarts(candidate)),
            created.map(|at| magnitude(now, at)),
            candidate.metadata.uid.clone(),
        )
    });
}

fn magnitude(now: Timestamp, since: Timestamp) -> u32 {
    let nanos = now.duration_since(since).as_nanos();
    u128::try_from(nanos).ok().filter(|n| *n > 0).map_or(0, u128::ilog2)
}

fn deletion_cost(candidate: &Pod) -> i32 {
    let text = candidate.metadata.annotations.as_ref().and_then(|a| a.get(DELETION_COST));
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// The most restarts of any container, and of any init container.
fn restarts(candidate: &Pod) -> (i32, i32) {
    let most = |all: Option<&Vec<ContainerStatus>>| {
        all.into_iter().flatten().map(|c| c.restart_count).max().unwrap_or(0)
    };
    let status = candidate.status.as_ref();
    (
        most(status.and_then(|s| s.container_statuses.as_ref())),
        most(status.and_then(|s| s.init_container_statuses.as_ref())),
    )
}
