//! The figures and conditions of a deployment's status.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::rollout::{Revision, Rollout};

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";

/// A condition made now.
pub(super) fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

pub(super) fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.as_ref()?.iter().find(|c| c.type_ == type_)
}

/// Adds a condition as the last one. An existing condition with the same status and reason stays;
/// the time of transition is that of the last change of status.
pub(super) fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(told) = find(status, &new.type_) {
        if told.status == new.status && told.reason == new.reason {
            return;
        }
        if told.status == new.status {
            new.last_transition_time.clone_from(&told.last_transition_time);
        }
    }
    remove(status, &new.type_);
    status.conditions.get_or_insert_default().push(new);
}

pub(super) fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_ != type_);
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

/// The figures of the sets as their controller counted them, and whether enough pods are available. The
/// conditions are taken from `before`.
pub(super) fn calculate(rollout: &Rollout<'_>, before: &DeploymentStatus) -> DeploymentStatus {
    let sum = |of: fn(&Revision) -> i32| some(rollout.all().map(of).sum());
    let available = rollout.total_available();
    let terminating: Option<i32> = rollout
        .all()
        .filter(|r| !r.is_new)
        .map(|r| r.set.status.as_ref().and_then(|s| s.terminating_replicas))
        .sum();
    let mut status = DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: sum(Revision::actual),
        updated_replicas: rollout.new.as_ref().map(Revision::actual).and_then(some),
        ready_replicas: sum(Revision::ready),
        available_replicas: some(available),
        unavailable_replicas: some((rollout.total() - available).max(0)),
        terminating_replicas: terminating,
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let condition = if available >= rollout.replicas - rollout.limits.max_unavailable {
        let message = "Deployment has minimum availability.";
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", message, rollout.now)
    } else {
        let message = "Deployment does not have minimum availability.";
        condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message, rollout.now)
    };
    set(&mut status, condition);
    status
}

/// Zeros are absent, as upstream's `omitempty` leaves them.
fn some(figure: i32) -> Option<i32> {
    Some(figure).filter(|n| *n != 0)
}
