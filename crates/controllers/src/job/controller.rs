//! The loop: which pods concern which Job, and what is read before deciding.

use std::collections::BTreeMap;

use api::selector::LabelSelector;
use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::backoff::Streaks;
use super::conditions::finish;
use super::plan::{self, Observed};
use super::pod::is_tracked;
use crate::claim::{concerned, still_there};
use crate::orphans::Orphans;
use crate::replicas::pod::{Replica, facts};
use crate::replicas::selector_of;
use crate::selecting::Selecting;

/// The name by which a Job says that this controller is to run it.
const SELF: &str = "kubernetes.io/job-controller";

/// See the module's documentation. Keys are Jobs.
pub struct JobController {
    jobs: Cache<Job>,
    owned: Index<Pod>,
    /// By the Job's uid, the pods a round has to look at: not those that ended and are counted.
    unsettled: Index<Pod>,
    orphans: Orphans<Pod>,
    streaks: Streaks,
}

impl Controller for JobController {
    const NAME: &'static str = "job-controller";
    const QUEUE: &'static str = "job";
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let streaks = Streaks::default();
        let held = streaks.clone();
        let jobs: Cache<Job> = sources.mapped(move |delta: &Delta<Job>| {
            if let Delta::Deleted(job) = delta {
                held.forget(&job.uid);
            }
            vec![delta.object().key.clone()]
        });
        let selecting = Selecting::new(&jobs, selector);
        let held = streaks.clone();
        let pods: Cache<Pod> = sources.mapped(move |delta| {
            held.follow(delta);
            concerned(&selecting, delta)
        });
        let unsettled = pods.index("unsettled", |pod, found| {
            if let Some(owner) = pod.controller()
                && &*owner.kind == "Job"
                && (is_tracked(pod) || !facts(pod).is_terminal())
            {
                found(&owner.uid);
            }
        });
        Self { jobs, owned: pods.by_controller(), unsettled, orphans: Orphans::new(&pods), streaks }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(job) = self.jobs.get_key(round.key) else { return Ok(None) };
        let uid = job.metadata.uid.as_deref().unwrap_or("");
        if finish(&job).is_some() || is_managed_elsewhere(&job) {
            self.streaks.forget(uid);
            return Ok(None);
        }
        let Some(selector) = selector(&job) else { return Ok(None) };
        let namespace = &*round.key.namespace;
        let own = self.unsettled.get(uid).into_iter().filter(|pod| pod.namespace() == namespace);
        let orphans = self.orphans.selected(namespace, &selector);
        let mut claims = job.metadata.deletion_timestamp.is_none();
        if claims && !orphans.is_empty() {
            claims = still_there(round, &*job).await?;
        }
        // In the order of their names, whosever they are.
        let all: BTreeMap<Key, Cached<Pod>> = own.chain(orphans).map(|pod| (pod.key.clone(), pod)).collect();
        let pods = all.into_values().map(Replica::of).collect();
        let streak = self.streaks.of(uid, &self.owned);
        Ok(Some(Observed { job: job.clone(), pods, claims, streak, failure: round.failure.cloned() }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

fn selector(job: &Job) -> Option<LabelSelector> {
    selector_of(job.spec.as_ref()?.selector.as_ref())
}

/// Whether the Job says that another controller runs it.
pub(super) fn is_managed_elsewhere(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_some_and(|name| name != SELF)
}
