//! [`Attempt`]: what a pod says as one of a Job's attempts.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::RawStatus;

/// The finalizer that keeps a pod until its Job has counted how the pod ended.
pub(crate) const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub(crate) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(crate) const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Fields of a pod that only its Job looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The completion index, of an Indexed Job's pod.
    pub index: Option<u32>,
    /// How many of the index's earlier pods failed: those that count, and those that are ignored.
    pub index_failures: i32,
    pub index_ignored_failures: i32,
    /// When the pod ended, or was told to; `None` while nothing says so.
    pub finished: Option<Timestamp>,
    /// The restarts of all its containers.
    pub restarts: i32,
}

/// The metadata that an [`Attempt`] is made of.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RawMeta {
    pub name: Option<Box<str>>,
    pub annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<RawOwner>>,
    finalizers: Option<Vec<Box<str>>>,
    deletion_timestamp: Option<Timestamp>,
    deletion_grace_period_seconds: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawOwner {
    kind: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawState {
    terminated: Option<RawTerminated>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawTerminated {
    finished_at: Option<Timestamp>,
}

impl Attempt {
    /// `None` for a pod that is nothing to a Job. `sidecars` are the init containers that run beside the others.
    pub(super) fn of(meta: &RawMeta, status: &RawStatus, sidecars: &[&str]) -> Option<Box<Self>> {
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key));
        let owned = meta.owner_references.iter().flatten().any(|owner| &*owner.kind == "Job");
        let tracked = meta.finalizers.iter().flatten().any(|name| &**name == TRACKING_FINALIZER);
        if !owned && !tracked && annotation(INDEX).is_none() {
            return None;
        }
        let count =
            |key: &str| annotation(key).and_then(|text| text.parse::<i32>().ok()).map_or(0, |n| n.max(0));
        let containers = || {
            let (init, main) = (status.init_container_statuses.iter(), status.container_statuses.iter());
            init.chain(main).flatten()
        };
        Some(Box::new(Self {
            // As Go reads a number: a sign may precede it.
            index: annotation(INDEX)
                .and_then(|text| text.parse::<i32>().ok())
                .and_then(|index| u32::try_from(index).ok()),
            index_failures: count(INDEX_FAILURES),
            index_ignored_failures: count(INDEX_IGNORED_FAILURES),
            finished: finished(meta, status, sidecars),
            restarts: containers().fold(0, |sum: i32, one| sum.saturating_add(one.restart_count)),
        }))
    }

    pub fn all_index_failures(&self) -> i32 {
        self.index_failures.saturating_add(self.index_ignored_failures)
    }
}

/// When the pod ended: by its containers, else since when it is not ready, else when its deletion was asked for
/// (`getFinishedTime` in `pkg/controller/job/backoff_utils.go`).
fn finished(meta: &RawMeta, status: &RawStatus, sidecars: &[&str]) -> Option<Timestamp> {
    let beside = status.init_container_statuses.iter().flatten();
    let beside = beside.filter(|one| sidecars.contains(&&*one.name));
    let ends: Option<Vec<Timestamp>> = status
        .container_statuses
        .iter()
        .flatten()
        .chain(beside)
        .map(|one| one.state.terminated.as_ref().and_then(|end| end.finished_at))
        .collect();
    let by_containers = ends.and_then(|all| all.into_iter().max());
    by_containers
        .or_else(|| {
            let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
            ready.last_transition_time.filter(|_| ready.status == "False")
        })
        .or_else(|| {
            let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
            Some(meta.deletion_timestamp? - grace)
        })
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::*;

    fn attempt(json: &str) -> Option<Attempt> {
        let facts: Facts = serde_json::from_str(json).expect("a pod");
        facts.attempt.map(|attempt| *attempt)
    }

    #[test]
    fn a_pod_that_is_nothing_to_a_job_takes_no_room() {
        assert_eq!(attempt("{}"), None);
        assert_eq!(attempt(r#"{"metadata":{"ownerReferences":[{"kind":"ReplicaSet"}]}}"#), None);
        assert!(attempt(r#"{"metadata":{"ownerReferences":[{"kind":"Job"}]}}"#).is_some());
        assert!(attempt(r#"{"metadata":{"finalizers":["batch.kubernetes.io/job-tracking"]}}"#).is_some());
    }

    #[test]
    fn indexes_and_counts_are_those_of_the_annotations() {
        let of = |index: &str, failures: &str| {
            let json = format!(
                r#"{{"metadata":{{"annotations":{{"{INDEX}":"{index}","{INDEX_FAILURES}":"{failures}"}}}}}}"#
            );
            attempt(&json).map(|found| (found.index, found.index_failures))
        };
        assert_eq!(of("3", "2"), Some((Some(3), 2)));
        assert_eq!(of("-1", "-2"), Some((None, 0)));
        assert_eq!(of("x", "4000000000"), Some((None, 0)));
    }

    #[test]
    fn a_pod_ends_with_its_last_container_or_when_it_was_told_to() {
        let finished = |meta: &str, status: &str| {
            let owned = r#""ownerReferences":[{"kind":"Job"}]"#;
            let spec = r#"{"initContainers":[{"name":"s","restartPolicy":"Always"},{"name":"i"}]}"#;
            let json = format!(r#"{{"metadata":{{{owned}{meta}}},"spec":{spec},"status":{{{status}}}}}"#);
            attempt(&json).and_then(|found| found.finished).map(|at| at.to_string())
        };
        let end = |name: &str, second: u8| {
            format!(
                r#"{{"name":"{name}","state":{{"terminated":{{"finishedAt":"2026-01-01T00:00:0{second}Z"}}}}}}"#
            )
        };
        let running = r#"{"name":"b","state":{"running":{}}}"#;
        let ready = r#","conditions":[{"type":"Ready","status":"False","lastTransitionTime":"2026-01-01T00:00:07Z"}]"#;
        let (a, b, s, i) = (end("a", 1), end("b", 3), end("s", 4), end("i", 9));
        let main = format!(r#""containerStatuses":[{b},{a}]"#);
        assert_eq!(finished("", &main).as_deref(), Some("2026-01-01T00:00:03Z"));
        let with_init = format!(r#"{main},"initContainerStatuses":[{i},{s}]"#);
        assert_eq!(
            finished("", &with_init).as_deref(),
            Some("2026-01-01T00:00:04Z"),
            "init containers end first"
        );
        let partly = format!(r#""containerStatuses":[{a},{running}]"#);
        assert_eq!(finished("", &partly), None);
        assert_eq!(finished("", &format!("{partly}{ready}")).as_deref(), Some("2026-01-01T00:00:07Z"));
        let deleted = r#","deletionTimestamp":"2026-01-01T00:00:40Z","deletionGracePeriodSeconds":30"#;
        assert_eq!(finished(deleted, &partly).as_deref(), Some("2026-01-01T00:00:10Z"));
    }
}
