//! A small cluster in memory with one Job: plans are applied to it and told as lines, kubelets and users are played.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Action, Cached, FailedWrite, Failure, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use serde_json::{Value, json};

use super::super::backoff::Streak;
use super::super::conditions::finish;
use super::super::plan::{Observed, plan};
use super::super::pod::is_tracked;
use crate::merge;
use crate::replicas::pod::Replica;
use crate::replicas::pod::attempt::{INDEX, TRACKING_FINALIZER};

pub(super) struct Cluster {
    pub job: Job,
    pub pods: BTreeMap<String, Pod>,
    pub now: Timestamp,
    pub log: String,
    /// Creates fail while so many pods are there.
    pub quota: Option<usize>,
    pub failure: Option<Failure>,
    pub again_after: Option<std::time::Duration>,
    /// So many further writes succeed; then the controller dies.
    pub writes_left: Option<usize>,
    streak: Streak,
    made: usize,
}

impl Cluster {
    pub fn new(spec: Value) -> Self {
        let labels = json!({"batch.kubernetes.io/controller-uid": "job"});
        let mut whole = json!({
            "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": "main", "image": "i"}]}},
        });
        for (key, value) in spec.as_object().expect("a specification") {
            whole[key] = value.clone();
        }
        let meta = json!({"name": "j", "namespace": "ns", "uid": "job"});
        let job = serde_json::from_value(json!({"metadata": meta, "spec": whole})).expect("a job");
        Self {
            job,
            pods: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            log: String::new(),
            quota: None,
            failure: None,
            again_after: None,
            writes_left: None,
            streak: Streak::default(),
            made: 0,
        }
    }

    pub fn spec(&mut self) -> &mut JobSpec {
        self.job.spec.as_mut().expect("a job has a specification")
    }

    pub fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    pub fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.log, "{}", line.as_ref()).expect("strings can be written to");
    }

    fn observe(&self) -> Observed {
        let own = |pod: &&Pod| {
            let replica = replica(pod);
            is_ours(pod) && (is_tracked(&replica) || !replica.facts.is_terminal())
        };
        let orphan = |pod: &&Pod| pod.metadata.owner_references.is_none() && self.selects(pod);
        let pods = self.pods.values().filter(|pod| own(pod) || orphan(pod)).map(replica).collect();
        let claims = self.job.metadata.deletion_timestamp.is_none();
        let (job, streak) = (Arc::new(self.job.clone()), self.streak.clone());
        Observed { job, pods, claims, streak, failure: self.failure.clone() }
    }

    pub fn selects(&self, pod: &Pod) -> bool {
        let selector = serde_json::to_value(self.job.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
        let selector = LabelSelector::from_object(&selector.expect("JSON")).expect("a selector");
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        selector.matches(|key| labels.get(key).map(String::as_str))
    }

    /// Forgets what is not in the API, as a restart does.
    pub fn restart(&mut self) {
        self.streak = Streak::default();
        let pods: Vec<Pod> = self.pods.values().filter(|pod| is_ours(pod)).cloned().collect();
        pods.iter().for_each(|pod| self.streak.note(&Cached::of(pod)));
        (self.failure, self.writes_left) = (None, None);
    }

    /// Plans once and does it; returns whether there was anything to do.
    pub fn round(&mut self) -> bool {
        self.again_after = None;
        if finish(&self.job).is_some() {
            return false;
        }
        let plan = plan(&self.observe(), self.now);
        self.failure = None;
        self.again_after = plan.again_after;
        for action in &plan.actions {
            let all = match action {
                Action::Batch(batch) => batch.as_slice(),
                one => std::slice::from_ref(one),
            };
            for action in all {
                if !matches!(action, Action::Event { .. }) {
                    match &mut self.writes_left {
                        Some(0) => return false,
                        Some(left) => *left -= 1,
                        None => {}
                    }
                }
                if !self.apply(&plan, action) {
                    return true;
                }
            }
        }
        !plan.actions.is_empty()
    }

    pub fn settle(&mut self) {
        for _ in 0..200 {
            if !self.round() {
                return;
            }
        }
        panic!("the plans do not come to rest:\n{}", self.log);
    }

    fn apply(&mut self, plan: &Plan, action: &Action) -> bool {
        match action {
            Action::Create { object, .. } => return self.create(plan, object.typed().expect("a pod")),
            Action::Delete { target, .. } => {
                let words = plan.on_success.as_ref().expect("words for successes").delete;
                self.say(format!("  event {} {}{}", words.0, words.1, target.name));
                self.delete(&target.name);
            }
            Action::Update { target, object } => {
                let new: Job = object.typed().expect("a job");
                assert_eq!((target.subresource, &new.spec), ("status", &self.job.spec));
                let logic = &resources::builtin().find("batch", "v1", "jobs").expect("a row").logic;
                let faults = logic.validate_status_update(object, &crate::target::dynamic(&self.job));
                assert!(faults.is_empty(), "{faults:?}\n{}", self.log);
                let empty = JobStatus::default();
                let old = self.job.status.as_ref().unwrap_or(&empty);
                let change = merge::difference(old, &new.status.clone().unwrap_or_default());
                self.say(format!("  status {}", change.expect("a write only where it is new")));
                self.job.status = new.status;
            }
            Action::StrategicPatch { target, patch } => self.patch(&target.name, &patch["metadata"]),
            Action::Event { reason, message, .. } => self.say(format!("  event {reason} {message}")),
            other => panic!("unexpected {other:?}"),
        }
        true
    }

    fn create(&mut self, plan: &Plan, mut made: Pod) -> bool {
        if self.quota.is_some_and(|quota| self.pods.len() >= quota) {
            let words = plan.on_failure.as_ref().expect("words for failures").create;
            let message = "exceeded quota".to_owned();
            self.say(format!("  event {} {}{message}", words.0, words.1));
            let write = FailedWrite::Create;
            self.failure = Some(Failure { write, target: String::new(), message, gone: false });
            return false;
        }
        let prefix = made.metadata.generate_name.clone().expect("a prefix");
        let name = format!("{prefix}{}", self.made);
        self.made += 1;
        made.metadata.name = Some(name.clone());
        made.metadata.uid = Some(format!("uid-{}", self.made - 1));
        made.metadata.creation_timestamp = Some(Time(self.now));
        made.status.get_or_insert_default().phase = Some("Pending".into());
        let words = plan.on_success.as_ref().expect("words for successes").create;
        self.say(format!("  event {} {}{name}", words.0, words.1));
        self.pods.insert(name, made);
        true
    }

    fn patch(&mut self, name: &str, meta: &Value) {
        let pod = self.pods.get_mut(name).expect("the pod is there");
        if meta["$deleteFromPrimitiveList/finalizers"].is_array() {
            pod.metadata.finalizers = None;
        } else {
            pod.metadata.finalizers = Some(vec![TRACKING_FINALIZER.to_owned()]);
        }
        let owners = &meta["ownerReferences"][0];
        let what = match owners {
            Value::Null => "untrack",
            owners if owners["$patch"] == "delete" => {
                pod.metadata.owner_references = None;
                "release"
            }
            owners => {
                let owner: OwnerReference = serde_json::from_value(owners.clone()).expect("a reference");
                pod.metadata.owner_references = Some(vec![owner]);
                "adopt"
            }
        };
        self.say(format!("  {what} {name}"));
        self.note(name);
        self.sweep(name);
    }

    /// A deletion, by anybody.
    pub fn delete(&mut self, name: &str) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        pod.metadata.deletion_timestamp.get_or_insert(Time(self.now));
        self.note(name);
        self.sweep(name);
    }

    fn note(&mut self, name: &str) {
        if let Some(pod) = self.pods.get(name).filter(|pod| is_ours(pod)) {
            self.streak.note(&Cached::of(pod));
        }
    }

    /// The API removes a pod that is being deleted once nothing holds it: no finalizer, no node.
    fn sweep(&mut self, name: &str) {
        let Some(pod) = self.pods.get(name) else { return };
        let replica = replica(pod);
        let held =
            is_tracked(&replica) || (!replica.facts.node_name.is_empty() && !replica.facts.is_terminal());
        if replica.is_being_deleted() && !held {
            self.pods.remove(name);
        }
    }

    /// A kubelet runs the pod, or reports how it ended.
    pub fn phase(&mut self, name: &str, phase: &str) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        pod.spec.get_or_insert_default().node_name = Some("n".into());
        let ready = if phase == "Running" { "True" } else { "False" };
        let condition =
            json!([{"type": "Ready", "status": ready, "lastTransitionTime": self.now.to_string()}]);
        let status = pod.status.get_or_insert_default();
        status.phase = Some(phase.into());
        status.conditions = Some(serde_json::from_value(condition).expect("conditions"));
        self.say(format!("# {name} {phase}"));
        self.note(name);
        self.sweep(name);
    }

    /// The same, with the exit code of its container.
    pub fn fail(&mut self, name: &str, code: i32) {
        let status = json!([{"name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": self.now.to_string()}}}]);
        if let Some(pod) = self.pods.get_mut(name) {
            let statuses = serde_json::from_value(status).expect("statuses");
            pod.status.get_or_insert_default().container_statuses = Some(statuses);
        }
        self.phase(name, "Failed");
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.say(format!("# {seconds} s later"));
    }

    pub fn active(&self) -> Vec<String> {
        let active = self.pods.iter().filter(|(_, pod)| is_ours(pod) && replica(pod).is_active());
        active.map(|(name, _)| name.clone()).collect()
    }

    pub fn tracked(&self) -> usize {
        self.pods.values().filter(|pod| is_tracked(&replica(pod))).count()
    }

    pub fn index(&self, name: &str) -> Option<u32> {
        self.pods[name].metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
    }

    pub fn is_over(&self) -> bool {
        finish(&self.job).is_some()
    }
}

pub(super) fn replica(pod: &Pod) -> Replica {
    Replica::of(Cached::of(pod))
}

pub(super) fn is_ours(pod: &Pod) -> bool {
    pod.metadata.owner_references.iter().flatten().any(|owner| owner.uid == "job")
}
