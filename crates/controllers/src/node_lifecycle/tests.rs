//! A node's life: signs of life come and stay away, plans are applied and told.

use std::fmt::Write;
use std::sync::Arc;

use informer::{Action, Cached};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::core::ObjectMeta;

use super::heartbeat::Heartbeats;
use super::plan::{Observed, plan};
use crate::golden;

struct Life {
    node: Node,
    pod: Pod,
    lease: Lease,
    heartbeats: Heartbeats,
    all_others_down: bool,
    now: Timestamp,
    start: Timestamp,
    log: String,
}

fn condition(type_: &str, status: &str, now: Timestamp) -> NodeCondition {
    NodeCondition {
        type_: type_.into(),
        status: status.into(),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
        ..NodeCondition::default()
    }
}

impl Life {
    fn new() -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a valid time");
        let mut pod = Pod::default();
        pod.metadata.name = Some("p".into());
        pod.spec.get_or_insert_default().node_name = Some("n".into());
        Self {
            node: Node {
                metadata: ObjectMeta {
                    name: Some("n".into()),
                    uid: Some("u".into()),
                    ..ObjectMeta::default()
                },
                ..Node::default()
            },
            pod,
            lease: Lease::default(),
            heartbeats: Heartbeats::default(),
            all_others_down: false,
            now,
            start: now,
            log: String::new(),
        }
    }

    fn say(&mut self, line: impl AsRef<str>) {
        let at = self.now.duration_since(self.start).as_secs();
        writeln!(self.log, "{at:>4} {}", line.as_ref()).expect("strings can be written to");
    }

    fn post(&mut self, ready: &str) {
        let types = ["MemoryPressure", "DiskPressure", "PIDPressure"];
        let mut all: Vec<_> = types.iter().map(|t| condition(t, "False", self.now)).collect();
        all.push(condition("Ready", ready, self.now));
        self.node.status.get_or_insert_default().conditions = Some(all);
        self.say(format!("# node posts Ready={ready}"));
    }

    fn renew(&mut self) {
        self.lease.spec = Some(LeaseSpec { renew_time: Some(MicroTime(self.now)), ..LeaseSpec::default() });
    }

    fn pod_ready(&mut self) {
        self.pod.status.get_or_insert_default().conditions = Some(vec![PodCondition {
            type_: "Ready".into(),
            status: "True".into(),
            last_transition_time: Some(Time(self.now)),
            ..PodCondition::default()
        }]);
    }

    /// Lets time pass in steps of ten seconds, with a round each.
    fn pass(&mut self, seconds: i64, renewing: bool) {
        for _ in 0..seconds / 10 {
            self.now += SignedDuration::from_secs(10);
            if renewing {
                self.renew();
            }
            self.round();
        }
    }

    fn round(&mut self) {
        let seen = self.heartbeats.note(&Cached::of(&self.node), Some(&Cached::of(&self.lease)), self.now);
        let observed = Observed {
            node: Arc::new(self.node.clone()),
            seen,
            all_others_down: self.all_others_down,
            pods: vec![Arc::new(self.pod.clone())],
        };
        for action in plan(&observed, self.now).actions {
            self.apply(&action);
        }
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Event { about, reason, message, .. } => {
                self.say(format!("event {} {reason}: {message}", about.kind.as_deref().unwrap_or("")));
            }
            Action::JsonPatch { patch, .. } => {
                let last = patch.as_array().and_then(|ops| ops.last()).expect("an operation");
                let taints: Vec<Taint> = serde_json::from_value(last["value"].clone()).expect("taints");
                let told: Vec<String> = taints.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect();
                self.say(format!("taints [{}]", told.join(" ")));
                self.node.spec.get_or_insert_default().taints = Some(taints);
            }
            Action::StrategicPatch { target, patch } if target.resource.resource == "nodes" => {
                let new: Vec<NodeCondition> =
                    serde_json::from_value(patch["status"]["conditions"].clone()).expect("conditions");
                let all = self.node.status.get_or_insert_default().conditions.get_or_insert_default();
                for condition in &new {
                    all.retain(|c| c.type_ != condition.type_);
                    all.push(condition.clone());
                }
                let told: Vec<String> = new
                    .iter()
                    .map(|c| format!("{}={}({})", c.type_, c.status, c.reason.as_deref().unwrap_or("")))
                    .collect();
                self.say(told.join(" "));
            }
            Action::StrategicPatch { patch, .. } => {
                self.pod.status.get_or_insert_default().conditions.get_or_insert_default()[0].status =
                    "False".into();
                self.say(format!("pod {}", patch["status"]["conditions"][0]["status"]));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn a_node_is_lost_and_comes_back() {
    let mut l = Life::new();
    l.round();
    l.post("False");
    l.round();
    l.post("True");
    l.pod_ready();
    l.pass(120, true);
    l.say("# silence");
    l.pass(120, false);
    l.post("True");
    l.pass(20, true);
    l.say("# cordoned");
    l.node.spec.get_or_insert_default().unschedulable = Some(true);
    l.round();
    l.round();
    golden::check("node_lifecycle/lost_and_back", &l.log);
}

#[test]
fn a_node_that_never_posts_is_lost_after_its_startup_grace() {
    let mut l = Life::new();
    l.round();
    l.pass(80, false);
    golden::check("node_lifecycle/never_posted", &l.log);
}

#[test]
fn nobody_is_evicted_where_no_node_is_left() {
    let mut l = Life::new();
    l.all_others_down = true;
    l.post("True");
    l.round();
    l.pass(80, false);
    let taints = l.node.spec.and_then(|s| s.taints).unwrap_or_default();
    let told: Vec<&str> = taints.iter().map(|t| t.effect.as_str()).collect();
    assert_eq!(told, ["NoSchedule"], "{}", l.log);
}

#[test]
fn foreign_taints_stay() {
    let mut l = Life::new();
    let foreign = Taint { key: "mine".into(), effect: "NoExecute".into(), ..Taint::default() };
    l.node.spec.get_or_insert_default().taints = Some(vec![foreign.clone()]);
    l.post("False");
    l.round();
    l.post("True");
    l.round();
    assert_eq!(l.node.spec.and_then(|s| s.taints), Some(vec![foreign]));
}
