//! The status of a workload, as both kinds write it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::pod::{Availability, Replica};
use super::workload::Workload;

/// Upstream's type of the condition which reports that pods cannot be made or deleted.
pub(crate) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Figures that are zero are absent, as upstream's `omitempty` leaves them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub fully_labeled_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub ready_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub available_replicas: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating_replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

impl Status {
    /// Reads either kind's status; the default if there is none.
    pub fn of(status: Option<&impl Serialize>) -> Self {
        let value = status.and_then(|s| serde_json::to_value(s).ok());
        value.and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default()
    }
}

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

pub(super) fn to_i32(n: usize) -> i32 {
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
