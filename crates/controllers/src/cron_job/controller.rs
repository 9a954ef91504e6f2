//! The loop: which Jobs concern which cron job, and what is read before deciding.

use std::collections::HashSet;

use informer::{Cache, Controller, Index, Key, Plan, Round, Sources};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::Api;

use super::plan::{self, Observed, run_name};
use super::timing::Timetable;

/// Keys are cron jobs.
pub struct CronJobController {
    crons: Cache<CronJob>,
    jobs: Cache<Job>,
    owned: Index<Job>,
}

impl Controller for CronJobController {
    const NAME: &'static str = "cronjob-controller";
    const QUEUE: &'static str = "cronjob";
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let crons: Cache<CronJob> = sources.primary();
        let jobs: Cache<Job> = sources.owned("batch/v1", "CronJob");
        Self { crons, owned: jobs.by_controller(), jobs }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(cron) = self.crons.get_key(round.key) else { return Ok(None) };
        let namespace = &*round.key.namespace;
        let uid = cron.metadata.uid.as_deref().unwrap_or("");
        let jobs: Vec<_> =
            self.owned.get(uid).into_iter().filter(|job| job.namespace() == namespace).collect();
        let known: HashSet<&str> = jobs.iter().map(|job| &*job.uid).collect();
        let mut unseen = HashSet::new();
        for job in cron.status.iter().flat_map(|status| status.active.iter().flatten()) {
            let (Some(uid), Some(name)) = (&job.uid, &job.name) else { continue };
            if !known.contains(&**uid) {
                // The cache may be late; only the API knows that a Job is gone.
                let api: Api<Job> = Api::namespaced(round.client.clone(), namespace);
                let live = api.get_opt(name).await?;
                if live.is_some_and(|live| live.metadata.uid.as_ref() == Some(uid)) {
                    unseen.insert(uid.clone());
                }
            }
        }
        let taken = self.is_taken(&cron, round.now);
        Ok(Some(Observed { cron, jobs, unseen, taken }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

impl CronJobController {
    /// Whether somebody else's Job has the name of the run that is due.
    fn is_taken(&self, cron: &CronJob, now: jiff::Timestamp) -> bool {
        let timetable = Timetable::of(&cron.spec).ok();
        let due = timetable.and_then(|timetable| timetable.due(cron, now).ok().flatten());
        let (Some(due), Some(name)) = (due, cron.metadata.name.as_deref()) else { return false };
        let key = Key::new(cron.metadata.namespace.as_deref().unwrap_or(""), &run_name(name, due.at));
        let ours = cron.metadata.uid.as_deref();
        self.jobs.find(&key).is_some_and(|job| job.controller().map(|owner| &*owner.uid) != ours)
    }
}
