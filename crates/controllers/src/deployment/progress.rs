//! Whether a rollout makes progress: the Progressing condition and the deadline
//! (`pkg/controller/deployment/progress.go`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus, ReplicaSetCondition};

use super::rollout::{Revision, Rollout};
use super::status::{self, PROGRESSING};
use crate::replicas::status::REPLICA_FAILURE;

pub(super) const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const COMPLETE: &str = "NewReplicaSetAvailable";

/// Seconds without progress after which a rollout has failed; `None` if the deployment sets no deadline.
pub(super) fn deadline_s(rollout: &Rollout<'_>) -> Option<i32> {
    rollout.spec.progress_deadline_seconds.filter(|s| *s != i32::MAX)
}

/// Reports pausing and resuming in the condition, so that a pause does not count against the deadline.
pub(super) fn note_pause(rollout: &Rollout<'_>, status: &mut DeploymentStatus) {
    if deadline_s(rollout).is_none() {
        return;
    }
    let reason = status::find(status, PROGRESSING).and_then(|c| c.reason.as_deref());
    if reason == Some(TIMED_OUT) {
        return;
    }
    let (told, paused) = (reason == Some(PAUSED), rollout.spec.paused == Some(true));
    let (reason, message) = match (paused, told) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => (RESUMED, "Deployment is resumed"),
        _ => return,
    };
    status::set(status, status::condition(PROGRESSING, "Unknown", reason, message, rollout.now));
}

/// Whether exactly the wanted pods run, all of the new revision and available.
pub(super) fn is_complete(rollout: &Rollout<'_>, status: &DeploymentStatus) -> bool {
    let wanted = Some(rollout.replicas).filter(|n| *n != 0);
    status.updated_replicas == wanted && status.replicas == wanted && status.available_replicas == wanted
}

/// Adds the Progressing condition to `status` (fresh figures), by comparing the figures with those of `before`.
pub(super) fn estimate(rollout: &Rollout<'_>, before: &DeploymentStatus, status: &mut DeploymentStatus) {
    let deadline_s = deadline_s(rollout);
    if deadline_s.is_none() {
        status::remove(status, PROGRESSING);
    }
    let told = status::find(before, PROGRESSING).cloned();
    let done = status.replicas == status.updated_replicas
        && told.as_ref().is_some_and(|c| c.reason.as_deref() == Some(COMPLETE));
    if let Some(deadline_s) = deadline_s.filter(|_| !done) {
        let subject = rollout.new.as_ref().map_or_else(
            || format!("Deployment {:?}", rollout.name()),
            |new| format!("ReplicaSet {:?}", new.name()),
        );
        let make = |truth: &str, reason: &str, what: &str| {
            status::condition(PROGRESSING, truth, reason, format!("{subject} {what}"), rollout.now)
        };
        if is_complete(rollout, status) {
            status::set(status, make("True", COMPLETE, "has successfully progressed."));
        } else if has_progressed(before, status) {
            let mut condition = make("True", "ReplicaSetUpdated", "is progressing.");
            if let Some(told) = told.filter(|t| t.status == "True") {
                condition.last_transition_time = told.last_transition_time;
            }
            // Progress renews the time of the update even where the words stay the same.
            status::remove(status, PROGRESSING);
            status::set(status, condition);
        } else if told.is_some_and(|told| is_late(&told, deadline_s, rollout.now)) {
            status::set(status, make("False", TIMED_OUT, "has timed out progressing."));
        }
    }
    match failure(rollout) {
        Some(failure) => status::set(status, failure),
        None => status::remove(status, REPLICA_FAILURE),
    }
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let figure = |n: Option<i32>| n.unwrap_or(0);
    let old = |s: &DeploymentStatus| figure(s.replicas) - figure(s.updated_replicas);
    figure(now.updated_replicas) > figure(before.updated_replicas)
        || old(now) < old(before)
        || figure(now.ready_replicas) > figure(before.ready_replicas)
        || figure(now.available_replicas) > figure(before.available_replicas)
}

fn is_late(told: &DeploymentCondition, deadline_s: i32, now: Timestamp) -> bool {
    match told.reason.as_deref() {
        Some(COMPLETE) => false,
        Some(TIMED_OUT) => true,
        _ => until_deadline(told, deadline_s, now).is_some_and(|left| left.is_negative()),
    }
}

fn until_deadline(told: &DeploymentCondition, deadline_s: i32, now: Timestamp) -> Option<SignedDuration> {
    let since = told.last_update_time.as_ref()?.0;
    Some(SignedDuration::from_secs(deadline_s.into()) - now.duration_since(since))
}

/// When the deadline is to be checked; `None` when there is nothing to wait for.
pub(super) fn check_after(rollout: &Rollout<'_>, status: &DeploymentStatus) -> Option<Duration> {
    let deadline_s = deadline_s(rollout)?;
    let told = status::find(status, PROGRESSING)?;
    let settled = [TIMED_OUT, PAUSED].contains(&told.reason.as_deref().unwrap_or(""));
    if is_complete(rollout, status) || settled {
        return None;
    }
    // A second more, because the times written are whole seconds.
    let left = until_deadline(told, deadline_s, rollout.now)? + SignedDuration::from_secs(1);
    Some(Duration::try_from(left).unwrap_or(Duration::from_secs(1)))
}

/// The failure a set reports, the new one's first.
fn failure(rollout: &Rollout<'_>) -> Option<DeploymentCondition> {
    let mut revisions = rollout.new.iter().chain(&rollout.old);
    let told = revisions.find_map(|r: &Revision| {
        r.set.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == REPLICA_FAILURE)
    })?;
    Some(from_set(told))
}

fn from_set(told: &ReplicaSetCondition) -> DeploymentCondition {
    DeploymentCondition {
        type_: told.type_.clone(),
        status: told.status.clone(),
        reason: told.reason.clone(),
        message: told.message.clone(),
        last_transition_time: told.last_transition_time.clone(),
        last_update_time: told.last_transition_time.clone(),
    }
}
