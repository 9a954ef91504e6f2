//! What a set's status says of its nodes and pods (`updateDaemonSetStatus` in `daemon_controller.go`).

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};

use super::daemons::{by_age, is_available};
use super::manage::View;
use super::placement::Fit;

/// The status that reports the pods of a view. Conditions, which are others', stay.
pub(super) fn of(set: &DaemonSet, view: &View<'_>, collisions: i32) -> DaemonSetStatus {
    let before = set.status.clone().unwrap_or_default();
    let (mut desired, mut current, mut misplaced, mut ready, mut updated, mut available) = (0, 0, 0, 0, 0, 0);
    for (node, fit) in view.fits {
        let oldest = view.pods.get(node).and_then(|pods| pods.iter().min_by(|a, b| by_age(a, b)));
        if *fit != Fit::Run {
            misplaced += i32::from(oldest.is_some());
            continue;
        }
        desired += 1;
        let Some(pod) = oldest else { continue };
        current += 1;
        if pod.facts.ready {
            ready += 1;
            available += i32::from(is_available(pod, view.min_ready_s, view.now));
        }
        updated += i32::from(view.current.is_of(pod));
    }
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misplaced,
        number_ready: ready,
        updated_number_scheduled: Some(updated),
        number_available: Some(available),
        number_unavailable: Some(desired - available),
        observed_generation: set.metadata.generation,
        collision_count: if collisions > 0 { Some(collisions) } else { before.collision_count },
        ..before
    }
}

/// The status as it is stored, which leaves out figures that are zero.
pub(super) fn stored(status: DaemonSetStatus) -> DaemonSetStatus {
    let figure = |count: Option<i32>| count.filter(|count| *count != 0);
    DaemonSetStatus {
        updated_number_scheduled: figure(status.updated_number_scheduled),
        number_available: figure(status.number_available),
        number_unavailable: figure(status.number_unavailable),
        observed_generation: status.observed_generation.filter(|generation| *generation != 0),
        conditions: status.conditions.filter(|conditions| !conditions.is_empty()),
        ..status
    }
}
