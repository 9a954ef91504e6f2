//! A small cluster in memory: plans are applied to it and told as lines, kubelets and users are played.

use std::collections::BTreeMap;
use std::fmt::Write;

use informer::{Action, Cached, FailedWrite, Failure, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference, Time};
use kube::core::ObjectMeta;
use proptest::prelude::*;

use super::plan::{Observed, plan};
use super::pod::Replica;
use super::status::Status;
use super::workload::Replicated;
use crate::claim::Claim;
use crate::{golden, merge};

fn replica(pod: &Pod) -> Replica {
    Replica::of(Cached::of(pod))
}

struct Cluster {
    set: ReplicaSet,
    status: Status,
    pods: BTreeMap<String, Pod>,
    now: Timestamp,
    made: usize,
    log: String,
    /// Creates fail with this message from the given one on.
    quota: Option<usize>,
    failure: Option<Failure>,
}

fn labels(value: &str) -> Option<BTreeMap<String, String>> {
    Some(BTreeMap::from([("app".to_owned(), value.to_owned())]))
}

impl Cluster {
    fn new(replicas: i32) -> Self {
        let template = PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: labels("a"), ..ObjectMeta::default() }),
            spec: Some(PodSpec::default()),
        };
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some("web".into()),
                namespace: Some("ns".into()),
                uid: Some("set".into()),
                generation: Some(1),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                min_ready_seconds: None,
                selector: LabelSelector { match_labels: labels("a"), ..LabelSelector::default() },
                template: Some(template),
            }),
            status: None,
        };
        Self {
            set,
            status: Status::default(),
            pods: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a valid time"),
            made: 0,
            log: String::new(),
            quota: None,
            failure: None,
        }
    }

    fn scale(&mut self, replicas: i32) {
        self.set.spec.as_mut().expect("set above").replicas = Some(replicas);
        *self.set.metadata.generation.as_mut().expect("set above") += 1;
        self.say(format!("# scale to {replicas}"));
    }

    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.log, "{}", line.as_ref()).expect("strings can be written to");
    }

    fn observe(&self) -> Observed {
        let mut workload = self.set.workload().expect("a selector and a template");
        workload.status = self.status.clone();
        let mut neighbours = std::collections::HashMap::new();
        for p in self.pods.values().filter(|p| pods::is_active(p)) {
            *neighbours.entry(pods::node_name(p).to_owned()).or_default() += 1;
        }
        let pods = self.pods.values().map(replica).collect();
        Observed { workload, pods, neighbours, failure: self.failure.clone() }
    }

    /// Plans once and does it; answers whether there was anything to do.
    fn round(&mut self) -> bool {
        let plan = plan(&self.observe(), self.now);
        let busy = !plan.actions.is_empty();
        self.failure = None;
        for action in &plan.actions {
            let all = match action {
                Action::Batch(batch) => batch.as_slice(),
                one => std::slice::from_ref(one),
            };
            for action in all {
                if !self.apply(&plan, action) {
                    return true;
                }
            }
        }
        busy
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.round() {
                return;
            }
        }
        panic!("the plans do not come to rest:\n{}", self.log);
    }

    fn apply(&mut self, plan: &Plan, action: &Action) -> bool {
        match action {
            Action::Create { object, .. } => {
                if self.quota.is_some_and(|quota| self.pods.len() >= quota) {
                    let failure = Failure {
                        write: FailedWrite::Create,
                        target: String::new(),
                        message: "exceeded quota".into(),
                        gone: false,
                    };
                    let words = plan.on_failure.as_ref().expect("words for failures").create;
                    self.say(format!("  event {} {}{}", words.0, words.1, failure.message));
                    self.failure = Some(failure);
                    return false;
                }
                let mut made: Pod = object.typed().expect("a pod");
                let name = format!("web-{}", self.made);
                self.made += 1;
                made.metadata.uid = Some(format!("uid-{name}"));
                made.metadata.name = Some(name.clone());
                made.metadata.creation_timestamp = Some(Time(self.now));
                made.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
                self.pods.insert(name.clone(), made);
                let words = plan.on_success.as_ref().expect("words for successes").create;
                self.say(format!("  event {} {}{name}", words.0, words.1));
            }
            Action::Delete { target, .. } => {
                let words = plan.on_success.as_ref().expect("words for successes").delete;
                let gone = self.pods.get_mut(&target.name).expect("the pod is there");
                gone.metadata.deletion_timestamp = Some(Time(self.now));
                self.say(format!("  event {} {}{}", words.0, words.1, target.name));
            }
            Action::Update { target, object } => {
                let status: Status = serde_json::from_value(object.0["status"].clone()).expect("a status");
                let change = merge::difference(&self.status, &status).expect("a write only where it is new");
                self.status = status;
                self.say(format!("  {} {change}", target.subresource));
            }
            Action::StrategicPatch { target, patch } => {
                let owners = &patch["metadata"]["ownerReferences"][0];
                let held = self.pods.get_mut(&target.name).expect("the pod is there");
                let released = owners["$patch"] == "delete";
                held.metadata.owner_references = (!released).then(|| {
                    vec![serde_json::from_value::<OwnerReference>(owners.clone()).expect("a reference")]
                });
                self.say(format!("  {} {}", if released { "release" } else { "adopt" }, target.name));
            }
            other => panic!("unexpected {other:?}"),
        }
        true
    }

    fn each(&mut self, what: &str, change: impl Fn(&mut Pod, Timestamp), names: &[&str]) {
        self.say(format!("# {what} {}", names.join(" ")));
        for name in names {
            change(self.pods.get_mut(*name).expect(name), self.now);
        }
    }

    fn run_all(&mut self) {
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in names {
            run(self.pods.get_mut(&name).expect("just listed"), self.now);
        }
        self.say("# all run");
    }

    /// Pods told to end are gone.
    fn end(&mut self) {
        self.pods.retain(|_, p| p.metadata.deletion_timestamp.is_none());
        self.say("# deleted pods are gone");
    }
}

fn run(p: &mut Pod, now: Timestamp) {
    let status = p.status.get_or_insert_default();
    status.phase = Some("Running".into());
    status.conditions = Some(vec![PodCondition {
        type_: "Ready".into(),
        status: "True".into(),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    }]);
}

#[test]
fn replicas_come_and_go() {
    let mut c = Cluster::new(3);
    c.settle();
    c.run_all();
    c.settle();
    c.each("labels changed of", |p, _| p.metadata.labels = labels("other"), &["web-1"]);
    c.settle();
    c.each("fails", |p, _| p.status.get_or_insert_default().phase = Some("Failed".into()), &["web-0"]);
    c.settle();
    c.scale(1);
    c.settle();
    c.end();
    c.settle();
    c.each("labels restored of", |p, _| p.metadata.labels = labels("a"), &["web-1"]);
    c.settle();
    golden::check("replicas/come_and_go", &c.log);
}

#[test]
fn a_failure_is_told_until_it_is_over() {
    let mut c = Cluster::new(3);
    c.quota = Some(1);
    for _ in 0..3 {
        c.round();
        c.say("--");
    }
    c.say("# quota raised");
    c.quota = None;
    c.settle();
    golden::check("replicas/failure", &c.log);
}

#[test]
fn pods_are_available_after_min_ready_seconds() {
    let mut c = Cluster::new(1);
    c.set.spec.as_mut().expect("set above").min_ready_seconds = Some(30);
    c.settle();
    c.run_all();
    c.settle();
    c.now += SignedDuration::from_secs(10);
    assert_eq!(plan(&c.observe(), c.now).again_after, Some(std::time::Duration::from_secs(20)));
    assert_eq!(c.status.available_replicas, 0);
    c.now += SignedDuration::from_secs(20);
    c.settle();
    assert_eq!((c.status.ready_replicas, c.status.available_replicas), (1, 1));
}

#[test]
fn a_set_being_deleted_makes_and_claims_nothing() {
    let mut c = Cluster::new(2);
    c.set.metadata.deletion_timestamp = Some(Time(c.now));
    let orphan = Pod {
        metadata: ObjectMeta { name: Some("o".into()), labels: labels("a"), ..ObjectMeta::default() },
        ..Pod::default()
    };
    c.pods.insert("o".into(), orphan);
    c.settle();
    assert_eq!(c.log, "  status {\"observedGeneration\":1,\"terminatingReplicas\":0}\n");
}

#[test]
fn the_least_useful_pods_go_first() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a valid time");
    let ago = |s: i64| Time(now - SignedDuration::from_secs(s));
    let make = |name: &str, node: &str, phase: &str, ready_s: Option<i64>| {
        let mut p = Pod::default();
        p.metadata.name = Some(name.into());
        p.metadata.creation_timestamp = Some(ago(10_000));
        p.spec.get_or_insert_default().node_name = Some(node.into()).filter(|n: &String| !n.is_empty());
        p.status.get_or_insert_default().phase = Some(phase.into());
        if let Some(s) = ready_s {
            run(&mut p, ago(s).0);
        }
        p
    };
    let mut cheap = make("cheap", "n1", "Running", Some(1000));
    let cost = ("controller.kubernetes.io/pod-deletion-cost".to_owned(), "-5".to_owned());
    cheap.metadata.annotations = Some(BTreeMap::from([cost]));
    let mut restarted = make("restarted", "n1", "Running", Some(1000));
    let restarts = ContainerStatus { restart_count: 3, ..ContainerStatus::default() };
    restarted.status.get_or_insert_default().container_statuses = Some(vec![restarts]);
    let pods = [
        make("old", "n1", "Running", Some(1000)),
        restarted,
        make("young", "n1", "Running", Some(10)),
        make("crowded", "n2", "Running", Some(1000)),
        cheap,
        make("unready", "n1", "Running", None),
        make("unknown", "n1", "Unknown", None),
        make("pending", "n1", "Pending", None),
        make("unassigned", "", "Pending", None),
    ];
    let pods = pods.map(|p| replica(&p));
    let mut order: Vec<&Replica> = pods.iter().collect();
    let neighbours = std::collections::HashMap::from([("n1".to_owned(), 1), ("n2".to_owned(), 2)]);
    super::rank::sort(&mut order, &neighbours, now);
    let names: Vec<&str> = order.iter().map(|p| p.name()).collect();
    assert_eq!(
        names,
        ["unassigned", "pending", "unknown", "unready", "cheap", "crowded", "young", "restarted", "old"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever users and nodes do, the next rounds bring exactly the wanted number of active pods, and on
    /// the way there never more creates than were missing nor more deletes than were too many.
    #[test]
    fn plans_converge_and_never_overshoot(
        steps in proptest::collection::vec((0u8..5, 0usize..6, 0i32..7), 1..12),
    ) {
        let mut c = Cluster::new(2);
        for (what, which, size) in steps {
            let name = c.pods.keys().nth(which).cloned();
            match (what, name) {
                (0, _) => c.scale(size),
                (1, Some(name)) => run(c.pods.get_mut(&name).expect("listed"), c.now),
                (2, Some(name)) => c.each("fails", |p, _| p.status.get_or_insert_default().phase = Some("Failed".into()), &[&name]),
                (3, Some(name)) => c.each("relabelled", |p, _| p.metadata.labels = labels("x"), &[&name]),
                (4, Some(name)) => { c.pods.remove(&name); }
                _ => c.end(),
            }
            let wanted = usize::try_from(c.set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0)).unwrap_or(0);
            let count = |c: &Cluster| c.pods.values().filter(|p| {
                pods::is_active(p) && !matches!(c.set.workload().expect("whole").relation(&replica(p)), Claim::Release | Claim::Foreign)
            }).count();
            let before = count(&c);
            c.round();
            let after = count(&c);
            prop_assert!(after <= before.max(wanted) && after >= before.min(wanted));
            c.settle();
            prop_assert_eq!(count(&c), wanted);
            prop_assert_eq!(usize::try_from(c.status.replicas).unwrap_or(0), wanted);
        }
    }
}
