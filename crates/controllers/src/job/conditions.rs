//! A Job's conditions.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const COMPLETE: &str = "Complete";
pub(super) const FAILED: &str = "Failed";
pub(super) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
pub(super) const SUSPENDED: &str = "Suspended";

/// The condition by which a Job is over, if it is.
pub(crate) fn finish(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    [COMPLETE, FAILED].into_iter().find_map(|type_| is_true(conditions, type_))
}

/// The condition of a type, if it holds.
pub(crate) fn is_true<'c>(conditions: &'c [JobCondition], type_: &str) -> Option<&'c JobCondition> {
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Sets a condition and returns whether that changed anything. One that never held is not told as not holding.
pub(super) fn set(
    conditions: &mut Vec<JobCondition>,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let new = JobCondition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: text(reason),
        message: text(message),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(old) if old.status == new.status && old.reason == new.reason && old.message == new.message => {
            false
        }
        Some(old) => {
            *old = new;
            true
        }
        None if !holds => false,
        None => {
            conditions.push(new);
            true
        }
    }
}
