//! How long a Job waits before it replaces failed pods: from the pods' own times, so that a restart forgets nothing.
//!
//! [`Streak`] is what counts of a Job's ended pods, [`Streaks`] keeps it up to date from the pods' changes, so that no
//! round looks at all pods that have ended.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use informer::{Cached, Delta, Index};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pod::is_tracked;
use crate::replicas::pod::{Phase, Replica};

/// Upstream's `DefaultJobPodFailureBackOff` and `MaxJobPodFailureBackOff`.
const FIRST_WAIT_S: i64 = 10;
const LONGEST_WAIT_S: i64 = 600;
/// So many failures lead to the longest wait; more need not be kept.
const ENOUGH: usize = 7;

/// The latest failures since the latest success.
#[derive(Debug, Clone, Default)]
pub(super) struct Streak {
    success: Option<Timestamp>,
    /// In the order of their times.
    failures: Vec<Failed>,
}

#[derive(Debug, Clone)]
struct Failed {
    at: Timestamp,
    pod: Arc<str>,
    /// Whether the pod has ended. A pod that is being deleted fails only where the Job says so.
    ended: bool,
}

impl Streak {
    pub fn note(&mut self, pod: &Cached<Pod>) {
        let replica = Replica::of(pod.clone());
        let ended = replica.facts.is_terminal();
        let going = replica.is_being_deleted();
        // The Job itself deletes pods, and takes the finalizer off them first.
        if !(ended || going) || (going && !is_tracked(pod)) {
            return;
        }
        let finished = replica.facts.attempt.as_ref().and_then(|attempt| attempt.finished);
        let Some(at) = finished.or(replica.created) else { return };
        if replica.facts.phase == Phase::Succeeded {
            self.failures.retain(|failed| failed.pod != pod.uid && failed.at >= at);
            self.success = self.success.max(Some(at));
            return;
        }
        self.failures.retain(|failed| failed.pod != pod.uid);
        // Times are whole seconds: of one second the failure counts as later.
        if self.success.is_none_or(|success| at >= success) {
            let place = self.failures.partition_point(|failed| failed.at <= at);
            self.failures.insert(place, Failed { at, pod: pod.uid.clone(), ended });
            let surplus = self.failures.len().saturating_sub(ENOUGH);
            self.failures.drain(..surplus);
        }
    }

    /// How long to wait yet; `None` when a pod may be made now.
    pub fn remaining(&self, replaces_only_failed: bool, now: Timestamp) -> Option<Duration> {
        let failures = self.failures.iter().filter(|failed| failed.ended || !replaces_only_failed);
        let last = failures.clone().next_back()?;
        remaining(failures.count(), last.at, now)
    }
}

/// How long to wait yet after so many failures in a row, the last of them at a time.
pub(super) fn remaining(failures: usize, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let doublings = u32::try_from(failures.min(ENOUGH)).ok()?.checked_sub(1)?;
    let wait = (FIRST_WAIT_S << doublings).min(LONGEST_WAIT_S);
    let left = jiff::SignedDuration::from_secs(wait) - now.duration_since(last);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// The streaks of unfinished Jobs, by uid. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Streaks(Arc<Mutex<HashMap<Arc<str>, Streak>>>);

impl Streaks {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Streak>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a change of a pod. Jobs that no round has asked about are left alone.
    pub fn follow(&self, delta: &Delta<Pod>) {
        let Delta::Applied { new, .. } = delta else { return };
        let Some(owner) = new.controller() else { return };
        if let Some(streak) = self.lock().get_mut(&owner.uid) {
            streak.note(new);
        }
    }

    /// The streak of a Job, the first time from all its pods.
    pub fn of(&self, job: &str, owned: &Index<Pod>) -> Streak {
        match self.lock().entry(job.into()) {
            Entry::Occupied(held) => held.get().clone(),
            Entry::Vacant(new) => {
                let mut streak = Streak::default();
                owned.get(job).iter().for_each(|pod| streak.note(pod));
                new.insert(streak).clone()
            }
        }
    }

    /// Forgets a Job that is over.
    pub fn forget(&self, job: &str) {
        self.lock().remove(job);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn pod(name: &str, phase: &str, second: i64, deleted: bool, tracked: bool) -> Cached<Pod> {
        let mut meta = json!({"name": name, "uid": name, "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job", "controller": true}]});
        if tracked {
            meta["finalizers"] = json!([crate::replicas::pod::attempt::TRACKING_FINALIZER]);
        }
        if deleted {
            meta["deletionTimestamp"] = json!(at(second).to_string());
        }
        let ready =
            json!([{"type": "Ready", "status": "False", "lastTransitionTime": at(second).to_string()}]);
        let pod = json!({"metadata": meta, "status": {"phase": phase, "conditions": ready}});
        Cached::of(&serde_json::from_value(pod).expect("a pod"))
    }

    fn wait(streak: &Streak, second: i64) -> Option<u64> {
        streak.remaining(false, at(second)).map(|left| left.as_secs())
    }

    #[test]
    fn the_wait_doubles_up_to_ten_minutes_and_a_success_ends_it() {
        let mut streak = Streak::default();
        let mut waits = Vec::new();
        for n in 0..9 {
            streak.note(&pod(&format!("p{n}"), "Failed", n * 1000, false, true));
            waits.push(wait(&streak, n * 1000));
        }
        let expected = [10, 20, 40, 80, 160, 320, 600, 600, 600];
        assert_eq!(waits, expected.map(Some));
        assert_eq!(wait(&streak, 8000 + 599), Some(1));
        assert_eq!(wait(&streak, 8000 + 600), None);
        streak.note(&pod("s", "Succeeded", 7500, false, true));
        assert_eq!(wait(&streak, 8000), Some(10), "one failure is later than the success");
        streak.note(&pod("s2", "Succeeded", 8000, false, true));
        assert_eq!(wait(&streak, 8000), Some(10), "within a second the failure counts as later");
        streak.note(&pod("s3", "Succeeded", 8001, false, true));
        assert_eq!(wait(&streak, 8001), None);
    }

    #[test]
    fn a_pod_counts_once_however_often_it_changes() {
        let mut streak = Streak::default();
        for tracked in [true, true, false] {
            streak.note(&pod("p", "Failed", 5, false, tracked));
        }
        assert_eq!(wait(&streak, 5), Some(10));
    }

    #[test]
    fn pods_deleted_by_others_count_and_the_jobs_own_deletions_do_not() {
        let mut streak = Streak::default();
        streak.note(&pod("own", "Running", 5, true, false));
        streak.note(&pod("own", "Failed", 6, true, false));
        assert_eq!(wait(&streak, 6), None);
        streak.note(&pod("theirs", "Running", 5, true, true));
        assert_eq!(wait(&streak, 6), Some(9));
        assert_eq!(streak.remaining(true, at(6)), None, "it has not ended");
        streak.note(&pod("theirs", "Failed", 8, true, true));
        assert_eq!(streak.remaining(true, at(8)), Some(Duration::from_secs(10)));
    }
}
