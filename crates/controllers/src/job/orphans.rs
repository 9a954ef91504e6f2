//! Takes the finalizer off pods whose Job does not count them any more: it is gone, it is over, or the pod is nobody's.
//! Without that nobody could delete them.

use informer::{Cache, Cached, Controller, Delta, Index, Plan, Round, Sources};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::claim::untrack;
use super::conditions::finish;
use super::controller::is_managed_elsewhere;
use super::pod::is_tracked;
use crate::replicas::pod::Replica;

/// Keys are pods.
pub struct JobOrphanController {
    pods: Cache<Pod>,
    jobs: Cache<Job>,
}

/// A pod with a finalizer that no Job will take off.
pub struct Orphan(Replica);

impl Controller for JobOrphanController {
    const NAME: &'static str = "job-orphan-pod-controller";
    const ACCOUNT: &'static str = "job-controller";
    const EVENT_SOURCE: &'static str = "job-controller";
    const QUEUE: &'static str = "job_orphan_pod";
    type Config = ();
    type Observed = Orphan;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let jobs: Cache<Job> = sources.reads();
        let known = jobs.clone();
        let pods: Cache<Pod> = sources.mapped(move |delta: &Delta<Pod>| match delta {
            Delta::Applied { new, .. } if is_tracked(new) && !is_counted(&known, new) => {
                vec![new.key.clone()]
            }
            _ => Vec::new(),
        });
        let tracked: Index<Pod> = pods.index("tracked", |pod, found| {
            if let Some(owner) = pod.controller()
                && is_tracked(pod)
            {
                found(&owner.uid);
            }
        });
        sources.mapped(move |delta: &Delta<Job>| {
            let over = match delta {
                Delta::Deleted(_) => true,
                Delta::Applied { new, .. } => {
                    tracked.count(&new.uid) > 0 && new.typed().is_some_and(|job| finish(job).is_some())
                }
            };
            if over { tracked.keys(&delta.object().uid) } else { Vec::new() }
        });
        Self { pods, jobs }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Orphan>, kube::Error> {
        let orphan = self.pods.find(round.key).filter(|pod| is_tracked(pod) && !is_counted(&self.jobs, pod));
        Ok(orphan.map(|pod| Orphan(Replica::of(pod))))
    }

    fn reconcile(orphan: &Orphan, _now: jiff::Timestamp) -> Plan {
        Plan { actions: vec![untrack(&orphan.0)], ..Plan::default() }.because("no job counts the pod")
    }
}

/// Whether somebody else takes the finalizer off: the pod's Job, or whoever controls a pod that is no Job's.
fn is_counted(jobs: &Cache<Job>, pod: &Cached<Pod>) -> bool {
    let Some(owner) = pod.controller() else { return false };
    if &*owner.kind != "Job" || &*owner.api_version != "batch/v1" {
        return true;
    }
    let job = jobs.get(pod.namespace(), &owner.name);
    job.filter(|job| job.metadata.uid.as_deref() == Some(&*owner.uid))
        .is_some_and(|job| is_managed_elsewhere(&job) || finish(&job).is_none())
}
