//! What the status of a workload should say, from its pods.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::pod::{Availability, Replica};
use super::status::{Condition, REPLICA_FAILURE, Status};
use super::workload::Workload;

/// Reason and message of the condition, from the last plan's failure.
pub(super) type Trouble = (&'static str, String);

/// The status that reports the state of the `claimed` pods.
pub(super) fn of(
    workload: &Workload,
    active: &[&Replica],
    terminating: usize,
    trouble: Option<Trouble>,
    now: Timestamp,
) -> Status {
    let template_labels = workload.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let fully_labeled =
        |p: &Replica| template_labels.is_none_or(|all| all.iter().all(|(k, v)| p.label(k) == Some(v)));
    let available =
        |p: &Replica| matches!(p.availability(workload.min_ready_s, now), Availability::Available);
    Status {
        replicas: count(active, |_| true),
        fully_labeled_replicas: count(active, fully_labeled),
        ready_replicas: count(active, |p| p.facts.ready),
        available_replicas: count(active, available),
        terminating_replicas: workload.tells_terminating.then(|| to_i32(terminating)),
        observed_generation: Some(workload.generation),
        conditions: conditions(&workload.status.conditions, trouble, now),
    }
}

fn count(pods: &[&Replica], holds: impl Fn(&Replica) -> bool) -> i32 {
    to_i32(pods.iter().filter(|p| holds(p)).count())
}

fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// The failure condition comes with trouble and goes with it; its time is that of the first trouble.
fn conditions(before: &[Condition], trouble: Option<Trouble>, now: Timestamp) -> Vec<Condition> {
    let told = before.iter().find(|c| c.type_ == REPLICA_FAILURE);
    let mut conditions: Vec<Condition> =
        before.iter().filter(|c| c.type_ != REPLICA_FAILURE).cloned().collect();
    match (trouble, told) {
        (None, _) => {}
        (Some((reason, _)), Some(told)) if told.reason == reason => conditions.push(told.clone()),
        (Some((reason, message)), _) => conditions.push(Condition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(now)),
            reason: reason.to_owned(),
            message,
        }),
    }
    conditions
}
