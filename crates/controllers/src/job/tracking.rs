//! [`Tracking`]: which pods' ends go into the status, and which pods may lose the finalizer
//! (`trackJobStatusAndRemoveFinalizers` of `pkg/controller/job/job_controller.go`).
//!
//! In one round a pod's uid is written among the uncounted and its finalizer is taken off; a later round, which sees
//! the pod without it, moves the uid into a counter. An Indexed Job's successes are told by their index instead.

use std::collections::HashSet;

use k8s_openapi::api::batch::v1::JobStatus;

use super::counts::Counts;
use super::ending::Ending;
use super::failure_policy::Verdict;
use super::pod::JobPod;
use super::settings::Settings;

/// Upstream's limit of uncounted pods, which bounds the status and what a round does.
const MOST_UNCOUNTED: usize = 500;

#[derive(Default)]
pub(super) struct Tracking<'a> {
    /// The pods that lose their finalizer once the status is written.
    pub release: Vec<JobPod<'a>>,
    /// Whether there are more.
    pub full: bool,
}

impl<'a> Tracking<'a> {
    /// Counts into `status`. `pods` are in the order of their indexes.
    pub fn count(
        settings: &Settings<'_>,
        deleting: bool,
        pods: &[JobPod<'a>],
        counts: &Counts<'a>,
        ending: Option<&Ending>,
        status: &mut JobStatus,
    ) -> Self {
        let tracked: HashSet<&str> = pods.iter().filter(|pod| pod.tracked).map(JobPod::uid).collect();
        let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
        let mut succeeded = uncounted.succeeded.take().unwrap_or_default();
        let mut failed = uncounted.failed.take().unwrap_or_default();
        settle(&mut succeeded, &tracked, &mut status.succeeded);
        settle(&mut failed, &tracked, &mut status.failed);
        let mut tracking = Self::default();
        let mut new_indexes = 0;
        for pod in pods.iter().filter(|pod| pod.tracked) {
            let has_failed = pod.has_failed(settings);
            if !(deleting || ending.is_some() || may_go(settings, pod, has_failed, counts)) {
                continue;
            }
            tracking.release.push(*pod);
            let is_new = |told: &[String]| !told.iter().any(|uid| uid == pod.uid());
            if pod.has_succeeded() {
                if let Some(indexes) = &counts.indexes {
                    new_indexes +=
                        usize::from(pod.index(settings).is_some_and(|index| !indexes.told.has(index)));
                } else if is_new(&failed) && is_new(&succeeded) {
                    succeeded.push(pod.uid().to_owned());
                }
            } else if has_failed || ending.is_some_and(|ending| !ending.success) {
                // Of a Job that fails every pod that has not ended has failed.
                let valid = settings.indexes.is_none() || pod.index(settings).is_some();
                if valid && is_new(&failed) && pod.verdict(settings) != Verdict::Ignore {
                    failed.push(pod.uid().to_owned());
                }
            }
            if new_indexes + succeeded.len() + failed.len() >= MOST_UNCOUNTED {
                tracking.full = true;
                break;
            }
        }
        let some = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
        let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
        (uncounted.succeeded, uncounted.failed) = (some(succeeded), some(failed));
        if let Some(indexes) = &counts.indexes {
            status.succeeded = Some(indexes.succeeded.total()).filter(|n| *n > 0);
            status.completed_indexes = Some(indexes.succeeded.to_string()).filter(|text| !text.is_empty());
            status.failed_indexes = indexes.failed.as_ref().map(ToString::to_string);
        }
        tracking
    }
}

/// Moves the pods without a finalizer from the uncounted to the counter.
fn settle(uncounted: &mut Vec<String>, tracked: &HashSet<&str>, counter: &mut Option<i32>) {
    let before = uncounted.len();
    uncounted.retain(|uid| tracked.contains(&**uid));
    let counted = i32::try_from(before - uncounted.len()).unwrap_or(i32::MAX);
    *counter = Some(counter.unwrap_or(0).saturating_add(counted)).filter(|n| *n > 0);
}

/// Whether the pod's end can be counted now. A failed pod that its index's next one is to inherit from stays.
fn may_go(settings: &Settings<'_>, pod: &JobPod<'_>, has_failed: bool, counts: &Counts<'_>) -> bool {
    let inherited = || {
        let indexes = counts.indexes.as_ref()?;
        indexes.replaced.get(&pod.index(settings)?).filter(|last| last.uid() == pod.uid())
    };
    pod.has_succeeded() || (has_failed && inherited().is_none())
}
