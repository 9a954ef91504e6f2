//! Deletes Jobs that are over once their time to live has passed (`pkg/controller/ttlafterfinished`).

use std::time::Duration;

use informer::{Action, Cache, Controller, DeletePolicy, Plan, Round, Sources};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;

use crate::job::finish;
use crate::target::target_of;

/// Keys are Jobs.
pub struct TtlAfterFinishedController {
    jobs: Cache<Job>,
}

impl Controller for TtlAfterFinishedController {
    const NAME: &'static str = "ttl-after-finished-controller";
    const QUEUE: &'static str = "ttl_jobs_to_delete";
    type Config = ();
    type Observed = Job;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        Self { jobs: sources.primary() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Job>, kube::Error> {
        let Some(job) = self.jobs.get_key(round.key) else { return Ok(None) };
        match expiry(&job) {
            None => Ok(None),
            Some(at) if at > round.now => Ok(Some((*job).clone())),
            // The time to live may have been changed since.
            Some(_) => {
                Api::namespaced(round.client.clone(), &round.key.namespace).get_opt(&round.key.name).await
            }
        }
    }

    fn reconcile(job: &Job, now: Timestamp) -> Plan {
        let Some(at) = expiry(job) else { return Plan::nothing() };
        if at > now {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
            return Plan { again_after: Some(wait), ..Plan::default() };
        }
        let policy = DeletePolicy {
            uid: job.metadata.uid.clone(),
            resource_version: job.metadata.resource_version.clone(),
            propagation: Some("Foreground"),
            ..DeletePolicy::default()
        };
        let delete = Action::Delete { target: target_of(job), policy };
        Plan { actions: vec![delete], ..Plan::default() }.because("the job has been over for long enough")
    }
}

/// When the Job is to go; `None` for one that is not over, that is to stay, or that goes already.
fn expiry(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let finished = finish(job)?.last_transition_time.as_ref()?.0;
    finished.checked_add(SignedDuration::from_secs(ttl.into())).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan(ttl: Value, conditions: Value, now: &str) -> Plan {
        let meta = json!({"name": "j", "namespace": "ns", "uid": "u", "resourceVersion": "7"});
        let spec = json!({"ttlSecondsAfterFinished": ttl, "template": {}});
        let job = json!({"metadata": meta, "spec": spec, "status": {"conditions": conditions}});
        let job: Job = serde_json::from_value(job).expect("a job");
        TtlAfterFinishedController::reconcile(&job, now.parse().expect("a time"))
    }

    #[test]
    fn a_job_goes_when_its_time_has_passed() {
        for end in ["Complete", "Failed"] {
            let over = json!([{"type": end, "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]);
            let early = plan(json!(20), over.clone(), "2026-01-01T00:00:15Z");
            assert_eq!((early.actions.len(), early.again_after), (0, Some(Duration::from_secs(15))));
            let due = plan(json!(20), over.clone(), "2026-01-01T00:00:30Z");
            let [Action::Delete { target, policy }] = due.actions.as_slice() else { panic!("{due:?}") };
            assert_eq!((&*target.name, policy.propagation), ("j", Some("Foreground")));
            assert_eq!((policy.uid.as_deref(), policy.resource_version.as_deref()), (Some("u"), Some("7")));
            assert_eq!(plan(json!(null), over, "2026-01-01T00:00:30Z"), Plan::nothing());
        }
        let running =
            json!([{"type": "Complete", "status": "False", "lastTransitionTime": "2026-01-01T00:00:10Z"}]);
        assert_eq!(plan(json!(0), running, "2026-01-01T00:00:30Z"), Plan::nothing());
    }
}
