//! The decision: claim pods, make or delete some, count those that ended, write the status, take finalizers off.

use std::collections::HashSet;
use std::sync::Arc;

use client::EventType;
use informer::{Action, DeletePolicy, EventWords, FailedWrite, Failure, Plan};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::backoff::Streak;
use super::claim::{self, claim};
use super::conditions::{SUSPENDED, set};
use super::counts::{Counts, to_i32};
use super::ending::{Ending, until_deadline};
use super::moves::Moves;
use super::pod::JobPod;
use super::settings::Settings;
use super::tracking::Tracking;
use crate::claim::Claimant;
use crate::replicas::pod::Replica;
use crate::replicas::selector_of;
use crate::target::{controller_reference, target, update_status};

/// What a decision is made from: a Job that is not over.
#[derive(Debug, Clone)]
pub struct Observed {
    pub job: Arc<Job>,
    /// The Job's pods that have not ended or are not counted, and orphans it may adopt.
    pub(super) pods: Vec<Replica>,
    /// Whether the Job may adopt and release pods.
    pub(super) claims: bool,
    pub(super) streak: Streak,
    /// The failure of the last plan.
    pub failure: Option<Failure>,
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let job = &*observed.job;
    let Some(spec) = &job.spec else { return Plan::nothing() };
    let Some(selector) = selector_of(spec.selector.as_ref()) else { return Plan::nothing() };
    let about = client::reference(job);
    let mut plan =
        Plan { on_success: Some(successes(&about)), on_failure: Some(failures(&about)), ..Plan::default() };
    let owner = controller_reference(job);
    let claimant = Claimant { owner: &owner, deleting: !observed.claims };
    let (mut pods, claims) = claim(claimant, &selector, &observed.pods);
    if !claims.is_empty() {
        plan.then(Action::Batch(claims));
    }
    let settings = Settings::of(spec);
    if settings.indexes.is_some() {
        pods.sort_by_key(JobPod::any_index);
    }
    let mut round = Round::begin(observed, &settings, &pods, now);
    round.decide(&mut plan);
    let tracking = round.track();
    round.finish(&tracking);
    round.write(plan, &about, &tracking)
}

/// One decision in the making.
struct Round<'a> {
    observed: &'a Observed,
    job: &'a Job,
    settings: &'a Settings<'a>,
    pods: &'a [JobPod<'a>],
    counts: Counts<'a>,
    now: Timestamp,
    /// The status to be written.
    status: JobStatus,
    ending: Option<Ending>,
    moves: Moves<'a>,
    /// Whether the moves come last, because the last plan's failed: what is known is written all the same.
    moves_last: bool,
    over: bool,
    events: Vec<(EventType, &'static str, String)>,
}

impl<'a> Round<'a> {
    fn begin(
        observed: &'a Observed,
        settings: &'a Settings<'a>,
        pods: &'a [JobPod<'a>],
        now: Timestamp,
    ) -> Self {
        let job = &*observed.job;
        let mut status = job.status.clone().unwrap_or_default();
        status.uncounted_terminated_pods.get_or_insert_default();
        if status.start_time.is_none() && !settings.suspended {
            status.start_time = Some(Time(now));
        }
        let counts = Counts::of(settings, &status, pods);
        let ending = Ending::of(settings, &status, pods, &counts, now);
        let failed = observed.failure.as_ref().map(|failure| failure.write);
        let moves_last = matches!(failed, Some(FailedWrite::Create | FailedWrite::Delete));
        let (moves, over, events) = (Moves::Nothing, false, Vec::new());
        Self { observed, job, settings, pods, counts, now, status, ending, moves, moves_last, over, events }
    }

    fn deleting(&self) -> bool {
        self.job.metadata.deletion_timestamp.is_some()
    }

    /// Decides which pods to make or delete, and with that whether the Job is complete.
    fn decide(&mut self, plan: &mut Plan) {
        if self.ending.is_some() {
            if !self.counts.active.is_empty() {
                self.moves = Moves::End(self.counts.active.clone());
                if self.moves_last {
                    // The Job is not over while pods may be left.
                    self.ending = None;
                }
            }
        } else {
            if let Some(left) = until_deadline(self.settings, &self.status, self.now) {
                plan.look_again(left);
            }
            if !self.deleting() {
                let streak = &self.observed.streak;
                self.moves = Moves::of(self.job, self.settings, self.pods, &self.counts, streak, self.now);
            }
            if let Moves::Wait(left) = self.moves {
                plan.look_again(left);
            }
            if self.is_complete() {
                self.ending = Some(Ending::completed());
            } else if !self.deleting() {
                self.tell_suspension();
            }
        }
        let (active, ready, terminating) = self.expected();
        self.status.active = Some(active).filter(|n| *n > 0);
        self.status.ready = Some(ready);
        self.status.terminating = Some(terminating);
    }

    /// How many pods are active, ready and terminating, once the moves are made where these come first.
    fn expected(&self) -> (i32, i32, i32) {
        let active = to_i32(self.counts.active.len());
        let (ready, terminating) = (self.counts.ready, self.counts.terminating);
        match &self.moves {
            Moves::Create(made) if !self.moves_last => (active + to_i32(made.len()), ready, terminating),
            Moves::Delete(gone) | Moves::End(gone) if !self.moves_last => {
                let count = to_i32(gone.len());
                let unready = to_i32(gone.iter().filter(|pod| pod.replica.facts.ready).count());
                (active - count, ready - unready, terminating + count)
            }
            _ => (active, ready, terminating),
        }
    }

    fn is_complete(&self) -> bool {
        let enough = match self.settings.completions {
            None => self.counts.succeeded > 0,
            Some(completions) => self.counts.succeeded >= completions,
        };
        enough && self.expected().0 == 0
    }

    fn tell_suspension(&mut self) {
        let (suspended, now) = (self.settings.suspended, self.now);
        let (reason, message, event) = match suspended {
            true => ("JobSuspended", "Job suspended", "Suspended"),
            false => ("JobResumed", "Job resumed", "Resumed"),
        };
        let conditions = self.status.conditions.get_or_insert_default();
        if set(conditions, SUSPENDED, suspended, reason, message, now) {
            self.events.push((EventType::Normal, event, message.to_owned()));
            // The time limit is one of being active without a break.
            self.status.start_time = (!suspended).then_some(Time(now));
        }
        if conditions.is_empty() {
            self.status.conditions = None;
        }
    }

    fn track(&mut self) -> Tracking<'a> {
        let deleting = self.deleting();
        let ending = self.ending.as_ref();
        // What this round deletes as too many loses the finalizer with that.
        let doomed: HashSet<&str> = match &self.moves {
            Moves::Delete(pods) => pods.iter().map(JobPod::uid).collect(),
            _ => HashSet::new(),
        };
        let pods: Vec<JobPod<'a>> =
            self.pods.iter().copied().filter(|pod| !doomed.contains(pod.uid())).collect();
        Tracking::count(self.settings, deleting, &pods, &self.counts, ending, &mut self.status)
    }

    /// Writes down the ending: for the time being while pods have not ended or are not counted, then for good.
    fn finish(&mut self, tracking: &Tracking<'_>) {
        let Some(ending) = &self.ending else { return };
        let conditions = self.status.conditions.get_or_insert_default();
        set(conditions, ending.interim(), true, &ending.reason, &ending.message, self.now);
        let uncounted = self.status.uncounted_terminated_pods.as_ref();
        let counted = uncounted.is_none_or(|pods| pods.succeeded.is_none() && pods.failed.is_none());
        let settled = tracking.release.is_empty() && !tracking.full && counted;
        if !settled || self.status.terminating.is_some_and(|n| n > 0) {
            return;
        }
        set(conditions, ending.last(), true, &ending.reason, &ending.message, self.now);
        self.over = true;
        if !ending.success {
            let (reason, message) = (failure_reason(&ending.reason), ending.message.clone());
            self.events.push((EventType::Warning, reason, message));
            return;
        }
        self.status.completion_time = Some(Time(self.now));
        if self.settings.completions.is_some_and(|wanted| self.status.succeeded.unwrap_or(0) > wanted) {
            let message = "Too many succeeded pods running after completion count reached";
            self.events.push((EventType::Warning, "TooManySucceededPods", message.to_owned()));
        }
        self.events.push((EventType::Normal, "Completed", "Job completed".to_owned()));
    }

    fn write(self, mut plan: Plan, about: &ObjectReference, tracking: &Tracking<'_>) -> Plan {
        let moves = actions(self.moves);
        let (first, last) = if self.moves_last { (Vec::new(), moves) } else { (moves, Vec::new()) };
        plan.actions.extend(first);
        if self.job.status.as_ref() != Some(&self.status) {
            let job = Job { status: Some(self.status), ..self.job.clone() };
            plan.then(update_status(&job));
        }
        for (event_type, reason, message) in self.events {
            plan.then(Action::Event { about: about.clone(), event_type, reason, message });
        }
        if !tracking.release.is_empty() {
            let release = tracking.release.iter().map(|pod| claim::untrack(pod.replica)).collect();
            plan.then(Action::Batch(release));
        }
        plan.actions.extend(last);
        if self.over {
            return plan.because("the job is over");
        }
        plan
    }
}

fn actions(moves: Moves<'_>) -> Vec<Action> {
    let deletions =
        |pods: &[JobPod<'_>]| Action::Batch(pods.iter().map(|pod| deletion(pod.replica)).collect());
    match moves {
        Moves::Nothing | Moves::Wait(_) => Vec::new(),
        Moves::Create(creations) => vec![Action::Batch(creations)],
        Moves::End(pods) => vec![deletions(&pods)],
        Moves::Delete(pods) => {
            let tracked = pods.iter().filter(|pod| pod.tracked);
            let untracked: Vec<Action> = tracked.map(|pod| claim::untrack_unchanged(pod.replica)).collect();
            let mut actions = vec![Action::Batch(untracked), deletions(&pods)];
            actions.retain(|action| !matches!(action, Action::Batch(batch) if batch.is_empty()));
            actions
        }
    }
}

fn deletion(doomed: &Replica) -> Action {
    Action::Delete {
        target: target::<Pod>(doomed.namespace(), doomed.name()),
        policy: DeletePolicy { uid: Some(doomed.uid.to_string()), ..DeletePolicy::default() },
    }
}

/// The event of a Job's failure is named after the reason.
fn failure_reason(reason: &str) -> &'static str {
    let reasons = [
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "FailedIndexes",
        "MaxFailedIndexesExceeded",
        "PodFailurePolicy",
    ];
    reasons.into_iter().find(|known| *known == reason).unwrap_or("Failed")
}

fn successes(about: &ObjectReference) -> EventWords {
    EventWords {
        about: about.clone(),
        create: ("SuccessfulCreate", "Created pod: "),
        delete: ("SuccessfulDelete", "Deleted pod: "),
    }
}

fn failures(about: &ObjectReference) -> EventWords {
    EventWords {
        about: about.clone(),
        create: ("FailedCreate", "Error creating: "),
        delete: ("FailedDelete", "Error deleting: "),
    }
}
