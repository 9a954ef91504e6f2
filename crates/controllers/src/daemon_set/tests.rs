//! A small cluster in memory: plans are applied to it and told as lines; scheduler, kubelets and users are played.

mod invariants;
mod scenarios;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use informer::{Action, Cached, Plan};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy,
    RollingUpdateDaemonSet,
};
use k8s_openapi::api::core::v1::{
    Container, Node, NodeSpec, Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec, Taint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;

use super::backoff::Backoffs;
use super::daemons;
use super::plan::{Observed, decide};
use crate::merge;
use crate::replicas::pod::Replica;
use crate::replicas::selector_of;

struct Cluster {
    set: DaemonSet,
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<String, Pod>,
    revisions: BTreeMap<String, ControllerRevision>,
    backoffs: Backoffs,
    now: Timestamp,
    made: usize,
    /// Names of revisions in the order they were made, so that scenarios do not depend on hashes.
    letters: Vec<String>,
    log: String,
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "a".to_owned())])
}

fn template(image: &str) -> PodTemplateSpec {
    let container = Container { name: "c".into(), image: Some(image.to_owned()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.containers[0].image.as_deref()).unwrap_or("")
}

fn node(name: &str) -> Node {
    Node { metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }, ..Node::default() }
}

fn taint(key: &str, effect: &str) -> Taint {
    Taint { key: key.into(), effect: effect.into(), ..Taint::default() }
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The node a pod runs on or is for.
fn place_of(pod: &Pod) -> String {
    let replica = Replica::of(Cached::of(pod));
    daemons::by_node(&[&replica]).into_keys().next().unwrap_or_default()
}

impl Cluster {
    fn new(nodes: usize) -> Self {
        let spec = DaemonSetSpec {
            revision_history_limit: Some(2),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            template: template("v1"),
            ..DaemonSetSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some("d".into()),
            namespace: Some("ns".into()),
            uid: Some("set".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        };
        let mut cluster = Self {
            set: DaemonSet { metadata, spec: Some(spec), status: Some(DaemonSetStatus::default()) },
            nodes: (1..=nodes).map(|n| (format!("n{n}"), node(&format!("n{n}")))).collect(),
            pods: BTreeMap::new(),
            revisions: BTreeMap::new(),
            backoffs: Backoffs::default(),
            now: "2026-01-01T00:00:00Z".parse().expect("a valid time"),
            made: 0,
            letters: Vec::new(),
            log: String::new(),
        };
        cluster.limits(1, 0);
        cluster
    }

    fn limits(&mut self, unavailable: i32, surge: i32) {
        let rolling = RollingUpdateDaemonSet {
            max_unavailable: Some(IntOrString::Int(unavailable)),
            max_surge: Some(IntOrString::Int(surge)),
        };
        self.spec().update_strategy = Some(DaemonSetUpdateStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(rolling),
        });
    }

    fn spec(&mut self) -> &mut DaemonSetSpec {
        *self.set.metadata.generation.get_or_insert(0) += 1;
        self.set.spec.get_or_insert_default()
    }

    fn status(&self) -> DaemonSetStatus {
        self.set.status.clone().unwrap_or_default()
    }

    fn say(&mut self, line: impl AsRef<str>) {
        let mut line = line.as_ref().to_owned();
        for (i, name) in self.letters.iter().enumerate() {
            line = line.replace(name, &format!("d-{}", char::from(b'A' + u8::try_from(i).unwrap_or(25))));
        }
        writeln!(self.log, "{line}").expect("strings can be written to");
    }

    fn set_image(&mut self, image: &str) {
        self.spec().template = template(image);
        self.say(format!("# image {image}"));
    }

    fn taint(&mut self, name: &str, taints: &[Taint]) {
        let node = self.nodes.get_mut(name).expect("a node");
        node.spec = Some(NodeSpec { taints: Some(taints.to_vec()), ..NodeSpec::default() });
        let told: Vec<String> = taints.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect();
        self.say(format!("# taints of {name}: {}", told.join(", ")));
    }

    fn observe(&self) -> Observed {
        let mine = |meta: &ObjectMeta| {
            let owner = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true));
            owner.is_none_or(|owner| owner.uid == "set")
        };
        let (own, others): (Vec<_>, Vec<_>) = self.revisions.values().partition(|r| mine(&r.metadata));
        let cached = |all: Vec<&ControllerRevision>| all.into_iter().map(Cached::of).collect();
        let generation = self.status().observed_generation.unwrap_or(0);
        let held = self.nodes.keys().filter_map(|name| {
            let until = self.backoffs.until(&("set".to_owned(), generation, name.clone()), self.now)?;
            Some((name.clone(), until))
        });
        Observed {
            set: Arc::new(self.set.clone()),
            selector: selector_of(self.set.spec.as_ref().map(|s| &s.selector)),
            gone: false,
            pods: self.pods.values().map(|pod| Replica::of(Cached::of(pod))).collect(),
            nodes: self.nodes.values().map(Cached::of).collect(),
            revisions: cached(own),
            namesakes: cached(others),
            held_back: held.collect(),
            now: self.now,
        }
    }

    /// Plans, and notes what the loop would note of the plan.
    fn plan(&self) -> Plan {
        let (plan, failed) = decide(&self.observe(), self.now);
        let generation = self.status().observed_generation.unwrap_or(0);
        for node in failed {
            self.backoffs.note(("set".to_owned(), generation, node), self.now);
        }
        plan
    }

    /// Plans once and does it; returns whether there was anything to do.
    fn round(&mut self) -> bool {
        let plan = self.plan();
        for action in &plan.actions {
            self.apply(action);
        }
        !plan.actions.is_empty()
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.round() {
                return;
            }
        }
        panic!("the plans do not come to rest:\n{}", self.log);
    }

    /// Lets scheduler and kubelets work too, until all is at rest.
    fn run_out(&mut self) {
        for _ in 0..300 {
            let busy = self.round();
            let before = self.pods.clone();
            self.end();
            self.run_all();
            if !busy && before == self.pods {
                return;
            }
        }
        panic!("the cluster does not come to rest:\n{}", self.log);
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Batch(all) => all.iter().for_each(|one| self.apply(one)),
            Action::Event { reason, message, .. } => self.say(format!("  event {reason} {message}")),
            Action::Create { target, object } if target.resource.resource == "pods" => {
                let mut made: Pod = object.typed().expect("a pod");
                self.made += 1;
                let name = format!("{}{}", made.metadata.generate_name.as_deref().unwrap_or(""), self.made);
                made.metadata.name = Some(name.clone());
                made.metadata.uid = Some(format!("uid-{}", self.made));
                made.metadata.creation_timestamp = Some(Time(self.now));
                made.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
                self.say(format!("  make {name} on {}", place_of(&made)));
                self.pods.insert(name, made);
            }
            Action::Create { object, .. } => {
                let made: ControllerRevision = object.typed().expect("a revision");
                let name = made.metadata.name.clone().expect("revisions have names");
                self.letters.push(name.clone());
                self.say(format!("  revision {} {name}", made.revision));
                self.revisions.insert(name, made);
            }
            Action::Delete { target, .. } if target.resource.resource == "pods" => {
                let gone = self.pods.get_mut(&target.name).expect("the pod is there");
                assert!(!is_going(gone), "{} is deleted twice", target.name);
                gone.metadata.deletion_timestamp = Some(Time(self.now));
                let place = place_of(&self.pods[&target.name]);
                self.say(format!("  delete {} on {place}", target.name));
            }
            Action::Delete { target, .. } => {
                self.revisions.remove(&target.name).expect("the revision is there");
                self.say(format!("  revision {} is deleted", target.name));
            }
            Action::Update { object, .. } => {
                let set: DaemonSet = object.typed().expect("a set");
                let (before, after) = (self.status(), set.status.expect("a status"));
                let change = merge::difference(&before, &after).expect("a write only where it is new");
                self.set.status = Some(after);
                self.say(format!("  status {change}"));
            }
            Action::MergePatch { target, patch } => {
                let number = patch["revision"].as_i64().expect("a number");
                self.revisions.get_mut(&target.name).expect("the revision is there").revision = number;
                self.say(format!("  revision {number} {}", target.name));
            }
            Action::StrategicPatch { target, patch } => {
                let owners = &patch["metadata"]["ownerReferences"][0];
                let released = owners["$patch"] == "delete";
                let references = (!released).then(|| {
                    vec![serde_json::from_value::<OwnerReference>(owners.clone()).expect("a reference")]
                });
                let held = self.pods.get_mut(&target.name).expect("the pod is there");
                held.metadata.owner_references = references;
                self.say(format!("  {} {}", if released { "release" } else { "adopt" }, target.name));
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Pods that wait are bound, and run.
    fn run_all(&mut self) {
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for pod in self.pods.values_mut().filter(|pod| !pods::is_terminal(pod) && !is_going(pod)) {
            let place = place_of(pod);
            if names.contains(&place) && !pods::is_ready(pod) {
                pod.spec.get_or_insert_default().node_name = Some(place);
                run(pod, self.now);
            }
        }
    }

    fn all_run(&mut self) {
        self.say("# all run");
        self.run_all();
    }

    /// Pods told to end are gone, and so are those of nodes that are gone.
    fn end(&mut self) {
        let nodes: Vec<String> = self.nodes.keys().cloned().collect();
        self.pods.retain(|_, pod| {
            let bound = pods::node_name(pod).to_owned();
            !is_going(pod) && (bound.is_empty() || nodes.contains(&bound))
        });
    }

    fn ended(&mut self) {
        self.say("# deleted pods are gone");
        self.end();
    }

    /// The nodes and images of the pods that are not going, in order.
    fn images(&self) -> Vec<(String, &str)> {
        let staying = self.pods.values().filter(|pod| !is_going(pod));
        let mut all: Vec<_> = staying.map(|pod| (place_of(pod), image(pod))).collect();
        all.sort_unstable();
        all
    }

    fn on(&mut self, node: &str) -> &mut Pod {
        let found = self.pods.values_mut().find(|pod| !is_going(pod) && place_of(pod) == node);
        found.expect("a pod on the node")
    }
}

fn run(pod: &mut Pod, now: Timestamp) {
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Running".into());
    status.conditions = Some(vec![PodCondition {
        type_: "Ready".into(),
        status: "True".into(),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    }]);
}

fn is_unready(pod: &mut Pod, now: Timestamp) {
    run(pod, now);
    for condition in pod.status.get_or_insert_default().conditions.iter_mut().flatten() {
        condition.status = "False".into();
    }
}

fn ends(pod: &mut Pod, phase: &str, now: Timestamp) {
    is_unready(pod, now);
    pod.status.get_or_insert_default().phase = Some(phase.into());
}
