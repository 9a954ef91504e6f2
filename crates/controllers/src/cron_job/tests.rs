//! A cron job in memory: plans are applied to it and told as lines, time passes and Jobs end.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use informer::{Action, Cached, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::{Observed, plan, run_name};
use crate::{golden, merge};

struct Cluster {
    cron: CronJob,
    jobs: BTreeMap<String, Job>,
    now: Timestamp,
    log: String,
    again_after: Option<std::time::Duration>,
    /// The names of all Jobs ever made.
    made: Vec<String>,
    /// So many further writes succeed; then the controller dies.
    writes_left: Option<usize>,
}

impl Cluster {
    fn new(spec: Value) -> Self {
        let mut whole = json!({
            "schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "suspend": false,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"app": "x"}}, "spec": {"template": {"spec": {"containers": []}}}},
        });
        for (key, value) in spec.as_object().expect("a specification") {
            whole[key] = value.clone();
        }
        let meta = json!({"name": "c", "namespace": "ns", "uid": "cron", "creationTimestamp": "2026-01-01T00:00:00Z"});
        Self {
            cron: serde_json::from_value(json!({"metadata": meta, "spec": whole})).expect("a cron job"),
            jobs: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            log: String::new(),
            again_after: None,
            made: Vec::new(),
            writes_left: None,
        }
    }

    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.log, "{}", line.as_ref()).expect("strings can be written to");
    }

    fn status(&self) -> CronJobStatus {
        self.cron.status.clone().unwrap_or_default()
    }

    fn active(&self) -> Vec<String> {
        self.status().active.into_iter().flatten().filter_map(|job| job.name).collect()
    }

    /// Plans once and does it; returns whether there was anything to do.
    fn round(&mut self) -> bool {
        let jobs = self.jobs.values().filter(|job| job.metadata.owner_references.is_some());
        let jobs = jobs.map(Cached::of).collect();
        let foreign = |job: &Job| job.metadata.owner_references.is_none();
        let minutes = self.now.as_second().div_euclid(600) * 600;
        let due = run_name("c", Timestamp::from_second(minutes).expect("a time"));
        let taken = self.jobs.get(&due).is_some_and(foreign);
        let cron = Arc::new(self.cron.clone());
        let plan = plan(&Observed { cron, jobs, unseen: HashSet::new(), taken }, self.now);
        self.again_after = plan.again_after;
        for action in &plan.actions {
            if !matches!(action, Action::Event { .. }) {
                match &mut self.writes_left {
                    Some(0) => return false,
                    Some(left) => *left -= 1,
                    None => {}
                }
            }
            self.apply(&plan, action);
        }
        !plan.actions.iter().all(|action| matches!(action, Action::Event { .. }))
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            if !self.round() {
                return;
            }
        }
        panic!("the plans do not come to rest:\n{}", self.log);
    }

    fn apply(&mut self, plan: &Plan, action: &Action) {
        let words = plan.on_success.as_ref().expect("words");
        match action {
            Action::Create { object, .. } => {
                let mut job: Job = object.typed().expect("a job");
                let name = job.metadata.name.clone().expect("a name");
                let at = job
                    .metadata
                    .annotations
                    .as_ref()
                    .map(|all| all["batch.kubernetes.io/cronjob-scheduled-timestamp"].clone());
                self.say(format!(
                    "  event {} {}{name} for {}",
                    words.create.0,
                    words.create.1,
                    at.expect("a time")
                ));
                job.metadata.uid = Some(format!("uid-{}", self.made.len()));
                job.metadata.resource_version = Some("1".into());
                self.made.push(name.clone());
                assert!(self.jobs.insert(name, job).is_none(), "a job is made twice:\n{}", self.log);
            }
            Action::Delete { target, policy } => {
                self.say(format!("  event {} {}{}", words.delete.0, words.delete.1, target.name));
                assert_eq!(policy.propagation, Some("Background"));
                self.jobs.remove(&target.name);
            }
            Action::Update { target, object } => {
                let new: CronJob = object.typed().expect("a cron job");
                assert_eq!((target.subresource, &new.spec), ("status", &self.cron.spec));
                let change = merge::difference(&self.status(), &new.status.clone().unwrap_or_default());
                self.say(format!("  status {}", change.expect("a write only where it is new")));
                self.cron.status = new.status;
            }
            Action::Event { reason, message, .. } => self.say(format!("  event {reason} {message}")),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.say(format!("# {}", self.now));
    }

    fn end(&mut self, name: &str, how: &str) {
        let at = Time(self.now);
        let condition = json!([{"type": how, "status": "True", "lastTransitionTime": self.now.to_string()}]);
        let Some(job) = self.jobs.get_mut(name) else { return };
        let status = job.status.get_or_insert_default();
        status.start_time = Some(at.clone());
        status.completion_time = (how == "Complete").then_some(at);
        status.conditions = Some(serde_json::from_value(condition).expect("conditions"));
        self.say(format!("# {name} {how}"));
    }

    fn end_all(&mut self, how: &str) {
        for name in self.active() {
            self.end(&name, how);
        }
    }
}

#[test]
fn jobs_are_made_on_time_and_the_old_ones_go() {
    let mut c = Cluster::new(json!({"successfulJobsHistoryLimit": 1}));
    c.settle();
    assert_eq!(c.again_after, Some(std::time::Duration::from_millis(600_100)));
    for how in ["Complete", "Failed", "Complete"] {
        c.pass(600);
        c.settle();
        c.pass(5);
        c.end_all(how);
        c.settle();
        c.pass(-5);
    }
    golden::check("cron_job/on_time", &c.log);
}

#[test]
fn policies_of_concurrency() {
    for policy in ["Allow", "Forbid", "Replace"] {
        let mut c = Cluster::new(json!({"concurrencyPolicy": policy}));
        for _ in 0..2 {
            c.pass(600);
            c.settle();
        }
        golden::check(&format!("cron_job/{}", policy.to_lowercase()), &c.log);
    }
}

#[test]
fn a_suspended_cron_job_makes_nothing_and_then_the_latest_run() {
    let mut c = Cluster::new(json!({"suspend": true}));
    c.pass(3600);
    c.settle();
    assert_eq!((c.made.len(), c.again_after), (0, None));
    c.cron.spec.suspend = Some(false);
    c.pass(60);
    c.settle();
    golden::check("cron_job/suspended", &c.log);
}

#[test]
fn missed_runs_are_told_of() {
    let mut c = Cluster::new(json!({"startingDeadlineSeconds": 30}));
    c.pass(645);
    c.settle();
    assert_eq!(c.made, Vec::<String>::new(), "the run of 00:10 is too late");
    let mut c = Cluster::new(json!({}));
    c.pass(101 * 600);
    c.settle();
    assert_eq!(c.made.len(), 1);
    let message = "event TooManyMissedTimes too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
    assert!(c.log.contains(message), "{}", c.log);
    let mut c = Cluster::new(json!({}));
    c.pass(100 * 600 - 1);
    c.settle();
    assert!(!c.log.contains("TooManyMissedTimes"), "{}", c.log);
}

#[test]
fn what_cannot_be_read_is_told() {
    let told = |spec: Value| {
        let mut c = Cluster::new(spec);
        c.pass(600);
        c.round();
        c.log.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        told(json!({"timeZone": "Nowhere/Land"})),
        ["  event UnknownTimeZone invalid timeZone: \"Nowhere/Land\": unknown time zone Nowhere/Land"]
    );
    assert_eq!(
        told(json!({"schedule": "* * *"})),
        [
            "  event UnparseableSchedule unparseable schedule: \"* * *\" : expected exactly 5 fields, found 3: [* * *]"
        ]
    );
    assert_eq!(
        told(json!({"schedule": "59 23 31 2 *"})),
        [
            "  event InvalidSchedule invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second"
        ]
    );
}

#[test]
fn times_are_those_of_the_zone() {
    let mut c = Cluster::new(json!({"schedule": "30 9 * * *", "timeZone": "Asia/Kolkata"}));
    c.pass(5 * 3600);
    c.settle();
    assert!(c.log.contains("for 2026-01-01T09:30:00+05:30"), "{}", c.log);
}

#[test]
fn jobs_of_others_are_told_of_and_go_missing() {
    let mut c = Cluster::new(json!({}));
    c.pass(600);
    c.settle();
    let mut manual = c.jobs.values().next().expect("a job").clone();
    manual.metadata.name = Some("manual".into());
    manual.metadata.uid = Some("manual".into());
    manual.metadata.annotations = None;
    c.jobs.insert("manual".into(), manual);
    c.round();
    c.jobs.retain(|name, _| name == "manual");
    c.settle();
    golden::check("cron_job/others", &c.log);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Wherever the controller dies and however late it comes: no run is made twice, no Job is forgotten, and with
    /// Forbid there is never more than one.
    #[test]
    fn no_run_is_made_twice(
        policy in prop_oneof![Just("Allow"), Just("Forbid"), Just("Replace")],
        limit in 0i32..3,
        steps in proptest::collection::vec((1i64..1500, 0u8..4, proptest::option::of(0usize..4)), 1..20),
    ) {
        let spec = json!({"concurrencyPolicy": policy, "successfulJobsHistoryLimit": limit, "failedJobsHistoryLimit": limit});
        let mut c = Cluster::new(spec);
        for (seconds, what, dies) in steps {
            c.pass(seconds);
            match what {
                0 => c.end_all("Complete"),
                1 => c.end_all("Failed"),
                _ => {}
            }
            c.writes_left = dies;
            c.round();
            c.writes_left = None;
            if dies.is_none() {
                c.settle();
            }
            let mut names = c.made.clone();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), c.made.len(), "{}", c.log);
            let running = c.jobs.values().filter(|job| crate::job::finish(job).is_none()).count();
            prop_assert!(policy == "Allow" || running <= 1, "{}", c.log);
        }
        c.settle();
        let running = c.jobs.values().filter(|job| crate::job::finish(job).is_none()).count();
        prop_assert_eq!(c.active().len(), running, "{}", c.log);
        let ended = c.jobs.len() - running;
        prop_assert!(ended <= usize::try_from(2 * limit).expect("small"), "{}", c.log);
    }
}
