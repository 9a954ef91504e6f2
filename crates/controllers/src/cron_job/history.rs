//! The Jobs that are over: which of them are too many.

use informer::Cached;
use k8s_openapi::api::batch::v1::{CronJobSpec, Job};

use crate::job::finish;

/// The oldest Jobs beyond what is to be kept of each kind of end.
pub(super) fn surplus<'a>(spec: &CronJobSpec, jobs: &'a [Cached<Job>]) -> Vec<&'a Cached<Job>> {
    let limits =
        [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    let mut surplus = Vec::new();
    for (end, limit) in limits {
        let Some(limit) = limit else { continue };
        let mut ended: Vec<&Cached<Job>> = jobs.iter().filter(|job| ended_as(job, end)).collect();
        // Those that never began are youngest.
        ended.sort_by_cached_key(|job| {
            let start = job.typed().and_then(|job| job.status.as_ref()?.start_time.clone());
            (start.is_none(), start.map(|time| time.0), job.name().to_owned())
        });
        let many = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        surplus.extend(ended.into_iter().take(many).filter(|job| !job.is_being_deleted()));
    }
    surplus
}

fn ended_as(job: &Cached<Job>, end: &str) -> bool {
    job.typed().and_then(|job| finish(job)).is_some_and(|condition| condition.type_ == end)
}
