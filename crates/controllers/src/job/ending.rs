//! [`Ending`]: whether a Job ends, how, and why. Once written into the status as `SuccessCriteriaMet` or
//! `FailureTarget` an ending stays, whatever the pods do.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};

use super::conditions::{COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, is_true};
use super::counts::Counts;
use super::failure_policy::Verdict;
use super::pod::JobPod;
use super::settings::Settings;
use super::success_policy;
use crate::replicas::pod::Phase;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub success: bool,
    pub reason: String,
    pub message: String,
}

impl Ending {
    fn new(success: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { success, reason: reason.to_owned(), message: message.into() }
    }

    fn told(success: bool, condition: &JobCondition) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self { success, reason: text(&condition.reason), message: text(&condition.message) }
    }

    /// As many pods have succeeded as were wanted.
    pub fn completed() -> Self {
        Self::new(true, "CompletionsReached", "Reached expected number of succeeded pods")
    }

    /// The condition that says so while pods are still to end or to be counted.
    pub fn interim(&self) -> &'static str {
        if self.success { SUCCESS_CRITERIA_MET } else { FAILURE_TARGET }
    }

    /// The condition that ends the Job.
    pub fn last(&self) -> &'static str {
        if self.success { COMPLETE } else { FAILED }
    }

    /// The ending that is known before pods are made or deleted. `status` has the Job's start.
    pub fn of(
        settings: &Settings<'_>,
        status: &JobStatus,
        pods: &[JobPod<'_>],
        counts: &Counts<'_>,
        now: Timestamp,
    ) -> Option<Self> {
        let conditions = status.conditions.as_deref().unwrap_or(&[]);
        if let Some(met) = is_true(conditions, SUCCESS_CRITERIA_MET) {
            return Some(Self::told(true, met));
        }
        if let Some(target) = is_true(conditions, FAILURE_TARGET) {
            return Some(Self::told(false, target));
        }
        let failed = pods.iter().filter(|pod| pod.has_failed(settings));
        let by_policy = failed.map(|pod| pod.verdict(settings)).find_map(|verdict| match verdict {
            Verdict::FailJob(message) => Some(message),
            _ => None,
        });
        if let Some(message) = by_policy {
            return Some(Self::new(false, "PodFailurePolicy", message));
        }
        if counts.failed > settings.backoff_limit || restarted_too_often(settings, pods) {
            let message = "Job has reached the specified backoff limit";
            return Some(Self::new(false, "BackoffLimitExceeded", message));
        }
        if until_deadline(settings, status, now).is_some_and(|left| left.is_zero()) {
            let message = "Job was active longer than specified deadline";
            return Some(Self::new(false, "DeadlineExceeded", message));
        }
        Self::by_indexes(settings, counts)
    }

    fn by_indexes(settings: &Settings<'_>, counts: &Counts<'_>) -> Option<Self> {
        let indexes = counts.indexes.as_ref()?;
        if let (Some(per_index), Some(failed)) = (settings.per_index, &indexes.failed) {
            if per_index.max_failed.is_some_and(|most| failed.total() > most) {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                return Some(Self::new(false, "MaxFailedIndexesExceeded", message));
            }
            let ended = i64::from(failed.total()) + i64::from(indexes.succeeded.total());
            if !failed.is_empty() && ended >= i64::from(indexes.limit) {
                return Some(Self::new(false, "FailedIndexes", "Job has failed indexes"));
            }
        }
        let message = success_policy::met(settings.success_policy?, indexes.limit, &indexes.succeeded)?;
        Some(Self::new(true, "SuccessPolicy", message))
    }
}

/// How long the Job may be active yet; `None` where it may be for ever, or is not.
pub(super) fn until_deadline(
    settings: &Settings<'_>,
    status: &JobStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = settings.deadline_s.filter(|_| !settings.suspended)?;
    let active = now.duration_since(status.start_time.as_ref()?.0);
    Some(Duration::try_from(SignedDuration::from_secs(deadline) - active).unwrap_or(Duration::ZERO))
}

/// Whether containers were restarted in their pods more often than pods may fail.
fn restarted_too_often(settings: &Settings<'_>, pods: &[JobPod<'_>]) -> bool {
    if !settings.restarts_in_place {
        return false;
    }
    let live = pods.iter().filter(|pod| matches!(pod.replica.facts.phase, Phase::Running | Phase::Pending));
    let restarts: i64 = live.map(|pod| i64::from(pod.attempt().restarts)).sum();
    restarts >= i64::from(settings.backoff_limit.max(1))
}
