//! The decision: bring the status up to date with the Jobs, delete old ones, make the Job of the run that is due.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use client::EventType;
use informer::{Action, Cached, DeletePolicy, EventWords, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;

use super::history;
use super::timing::{Due, NoTimetable, Timetable};
use crate::job::finish;
use crate::target::{controller_reference, dynamic, target, update_status};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    pub(super) cron: Arc<CronJob>,
    /// The Jobs it controls.
    pub(super) jobs: Vec<Cached<Job>>,
    /// The uids of active Jobs that the cache has not and the API has.
    pub(super) unseen: HashSet<String>,
    /// Whether a Job that is not the cron job's has the name of the due run.
    pub(super) taken: bool,
}

/// The name of a run's Job.
pub(super) fn run_name(cron: &str, at: Timestamp) -> String {
    format!("{cron}-{}", at.as_second().div_euclid(60))
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let spec = &observed.cron.spec;
    let cron = (*observed.cron).clone();
    let about = client::reference(&cron);
    let mut round =
        Round { spec, about, cron, observed, now, doomed: Vec::new(), run: None, events: Vec::new() };
    round.clean_up();
    round.look_at_jobs();
    round.forget_missing();
    let again_after = round.schedule();
    let mut plan = round.write();
    plan.again_after = again_after;
    plan
}

/// One decision in the making.
struct Round<'a> {
    spec: &'a CronJobSpec,
    observed: &'a Observed,
    now: Timestamp,
    about: ObjectReference,
    /// With the status to be written.
    cron: CronJob,
    doomed: Vec<&'a Cached<Job>>,
    run: Option<Job>,
    events: Vec<(EventType, &'static str, String)>,
}

impl<'a> Round<'a> {
    fn name(&self) -> &str {
        self.cron.metadata.name.as_deref().unwrap_or("")
    }

    fn status(&mut self) -> &mut CronJobStatus {
        self.cron.status.get_or_insert_default()
    }

    fn active(&self) -> &[ObjectReference] {
        self.cron.status.as_ref().and_then(|status| status.active.as_deref()).unwrap_or(&[])
    }

    fn is_active(&self, uid: &str) -> bool {
        self.active().iter().any(|job| job.uid.as_deref() == Some(uid))
    }

    fn drop_active(&mut self, uid: &str) {
        if let Some(active) = &mut self.status().active {
            active.retain(|job| job.uid.as_deref() != Some(uid));
        }
    }

    fn say(&mut self, event_type: EventType, reason: &'static str, message: impl Into<String>) {
        self.events.push((event_type, reason, message.into()));
    }

    fn clean_up(&mut self) {
        self.doomed = history::surplus(self.spec, &self.observed.jobs);
        for job in self.doomed.clone() {
            self.drop_active(&job.uid);
        }
    }

    fn look_at_jobs(&mut self) {
        for job in &self.observed.jobs {
            let Some(typed) = job.typed() else { continue };
            let end = finish(typed).map(|condition| condition.type_.clone());
            let listed = self.is_active(&job.uid);
            match end {
                None if listed => {}
                None => match run_time(self.name(), typed) {
                    Some(at) => self.take_up(job, at),
                    None => {
                        let message =
                            format!("Saw a job that the controller did not create or forgot: {}", job.name());
                        self.say(EventType::Warning, "UnexpectedJob", message);
                    }
                },
                Some(end) => {
                    if listed {
                        self.drop_active(&job.uid);
                        let message = format!("Saw completed job: {}, status: {end}", job.name());
                        self.say(EventType::Normal, "SawCompletedJob", message);
                    }
                    if end == "Complete" {
                        let done = typed.status.as_ref().and_then(|status| status.completion_time.clone());
                        let status = self.status();
                        let last = status.last_successful_time.take();
                        status.last_successful_time = later(last, done);
                    }
                }
            }
        }
    }

    /// Lists a Job that was made for a run, and that the status does not know yet.
    fn take_up(&mut self, job: &Cached<Job>, at: Timestamp) {
        let reference = ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            name: Some(job.name().to_owned()),
            namespace: Some(job.namespace().to_owned()),
            resource_version: Some(job.version.to_string()),
            uid: Some(job.uid.to_string()),
            ..ObjectReference::default()
        };
        let status = self.status();
        status.active.get_or_insert_default().push(reference);
        let last = status.last_schedule_time.take();
        status.last_schedule_time = later(last, Some(Time(at)));
    }

    fn forget_missing(&mut self) {
        let known: HashSet<&str> = self.observed.jobs.iter().map(|job| &*job.uid).collect();
        for job in self.active().to_vec() {
            let uid = job.uid.as_deref().unwrap_or("");
            if !known.contains(uid) && !self.observed.unseen.contains(uid) {
                self.drop_active(uid);
                let message = format!("Active job went missing: {}", job.name.as_deref().unwrap_or(""));
                self.say(EventType::Normal, "MissingJob", message);
            }
        }
    }

    /// Decides about the run that is due, and returns when the next one is.
    fn schedule(&mut self) -> Option<std::time::Duration> {
        if self.cron.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let timetable = match Timetable::of(self.spec) {
            Err(NoTimetable::Zone(why)) => {
                let zone = self.spec.time_zone.as_deref().unwrap_or("");
                self.say(EventType::Warning, "UnknownTimeZone", format!("invalid timeZone: {zone:?}: {why}"));
                return None;
            }
            _ if self.spec.suspend == Some(true) => return None,
            Ok(timetable) => timetable,
            Err(NoTimetable::Schedule(why)) => {
                let message = format!("unparseable schedule: {:?} : {why}", self.spec.schedule);
                self.say(EventType::Warning, "UnparseableSchedule", message);
                return None;
            }
        };
        match timetable.due(&self.cron, self.now) {
            Ok(None) => {}
            Ok(Some(due)) => self.start(due, &timetable),
            Err(why) => {
                let message = format!("invalid schedule: {} : {why}", self.spec.schedule);
                self.say(EventType::Warning, "InvalidSchedule", message);
                return None;
            }
        }
        timetable.until_next(&self.cron, self.now)
    }

    fn start(&mut self, due: Due, timetable: &Timetable) {
        if due.many_missed {
            let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.say(EventType::Warning, "TooManyMissedTimes", message);
        }
        let latest = self.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        if latest.is_some_and(|allowed| self.now.duration_since(due.at) > allowed) {
            let at = due.at.strftime("%a, %d %b %Y %H:%M:%S +0000");
            self.say(
                EventType::Warning,
                "MissSchedule",
                format!("Missed scheduled time to start a job: {at}"),
            );
            return;
        }
        let name = run_name(self.name(), due.at);
        let last = self.cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let made = last.is_some_and(|time| time.0 == due.at)
            || self.active().iter().any(|job| job.name.as_deref() == Some(&name));
        if made || self.observed.taken {
            return;
        }
        if self.observed.jobs.iter().any(|job| job.name() == name) {
            // Made before a restart, and over already.
            self.status().last_schedule_time = Some(Time(due.at));
            return;
        }
        match self.spec.concurrency_policy.as_deref() {
            Some("Forbid") if !self.active().is_empty() => {
                let message =
                    "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.say(EventType::Normal, "JobAlreadyActive", message);
                return;
            }
            Some("Replace") => self.replace(),
            _ => {}
        }
        self.run = Some(self.job(name, due.at, timetable));
        self.status().last_schedule_time = Some(Time(due.at));
    }

    fn replace(&mut self) {
        let active: Vec<String> = self.active().iter().filter_map(|job| job.uid.clone()).collect();
        let running = self.observed.jobs.iter().filter(|job| active.iter().any(|uid| **uid == *job.uid));
        self.doomed.extend(running);
        for uid in active {
            self.drop_active(&uid);
        }
    }

    fn job(&self, name: String, at: Timestamp, timetable: &Timetable) -> Job {
        let template = self.spec.job_template.metadata.clone().unwrap_or_default();
        let mut annotations: BTreeMap<String, String> = template.annotations.unwrap_or_default();
        let local = at.to_zoned(timetable.zone.clone());
        let format =
            if local.offset().seconds() == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
        annotations.insert(SCHEDULED.to_owned(), local.strftime(format).to_string());
        Job {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: self.cron.metadata.namespace.clone(),
                labels: template.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![controller_reference(&self.cron)]),
                ..ObjectMeta::default()
            },
            spec: self.spec.job_template.spec.clone(),
            status: None,
        }
    }

    fn write(mut self) -> Plan {
        let mut plan = Plan {
            on_success: Some(words(&self.about, "Created job ", "Deleted job ")),
            on_failure: Some(EventWords {
                create: ("FailedCreate", "Error creating job: "),
                delete: ("FailedDelete", "Deleted job: "),
                about: self.about.clone(),
            }),
            ..Plan::default()
        };
        for job in &self.doomed {
            plan.then(deletion(job));
        }
        if let Some(run) = &self.run {
            let namespace = run.metadata.namespace.as_deref().unwrap_or("");
            plan.then(Action::Create { target: target::<Job>(namespace, ""), object: dynamic(run) });
        }
        if let Some(status) = &mut self.cron.status
            && status.active.as_ref().is_some_and(Vec::is_empty)
        {
            status.active = None;
        }
        let before = self.observed.cron.status.clone().unwrap_or_default();
        if self.cron.status.clone().unwrap_or_default() != before {
            plan.then(update_status(&self.cron));
        }
        for (event_type, reason, message) in self.events {
            plan.then(Action::Event { about: self.about.clone(), event_type, reason, message });
        }
        plan
    }
}

fn words(about: &ObjectReference, create: &'static str, delete: &'static str) -> EventWords {
    EventWords {
        about: about.clone(),
        create: ("SuccessfulCreate", create),
        delete: ("SuccessfulDelete", delete),
    }
}

fn deletion(job: &Cached<Job>) -> Action {
    let uid = Some(job.uid.to_string());
    let policy = DeletePolicy { uid, propagation: Some("Background"), ..DeletePolicy::default() };
    Action::Delete { target: target::<Job>(job.namespace(), job.name()), policy }
}

/// The time of the run that a Job was made for; `None` for a Job that somebody else made.
fn run_time(cron: &str, job: &Job) -> Option<Timestamp> {
    let name = job.metadata.name.as_deref()?;
    let minutes: i64 = name.strip_prefix(cron)?.strip_prefix('-')?.parse().ok()?;
    let at: Timestamp = job.metadata.annotations.as_ref()?.get(SCHEDULED)?.parse().ok()?;
    (run_name(cron, at) == name && at.as_second().div_euclid(60) == minutes).then_some(at)
}

/// The later of two times.
fn later(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 > one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}
