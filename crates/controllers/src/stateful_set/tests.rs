//! A small cluster in memory: plans are applied to it and told as lines; kubelets, users and the garbage collector are
//! played.

mod invariants;
mod scenarios;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use informer::{Action, Cached};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    ControllerRevision, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetStatus,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference, Time};
use kube::core::ObjectMeta;

use super::names;
use super::plan::{Observed, plan};
use crate::merge;
use crate::replicas::pod::Replica;
use crate::replicas::selector_of;

struct Cluster {
    set: StatefulSet,
    pods: BTreeMap<String, Pod>,
    revisions: BTreeMap<String, ControllerRevision>,
    claims: BTreeMap<String, PersistentVolumeClaim>,
    now: Timestamp,
    uids: usize,
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

impl Cluster {
    fn new(replicas: i32) -> Self {
        let spec = StatefulSetSpec {
            replicas: Some(replicas),
            revision_history_limit: Some(2),
            service_name: Some("svc".into()),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            template: template("v1"),
            pod_management_policy: Some("OrderedReady".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(0),
                    max_unavailable: None,
                }),
            }),
            ..StatefulSetSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some("web".into()),
            namespace: Some("ns".into()),
            uid: Some("set".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        };
        let status = StatefulSetStatus { available_replicas: Some(0), ..StatefulSetStatus::default() };
        Self {
            set: StatefulSet { metadata, spec: Some(spec), status: Some(status) },
            pods: BTreeMap::new(),
            revisions: BTreeMap::new(),
            claims: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a valid time"),
            uids: 0,
            letters: Vec::new(),
            log: String::new(),
        }
    }

    /// With one claim template.
    fn with_claims(replicas: i32, when_deleted: &str, when_scaled: &str) -> Self {
        let mut cluster = Self::new(replicas);
        let spec = cluster.set.spec.get_or_insert_default();
        spec.volume_claim_templates = Some(vec![PersistentVolumeClaim {
            metadata: ObjectMeta { name: Some("www".into()), ..ObjectMeta::default() },
            ..PersistentVolumeClaim::default()
        }]);
        let policy = k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: Some(when_deleted.to_owned()),
            when_scaled: Some(when_scaled.to_owned()),
        };
        spec.persistent_volume_claim_retention_policy = Some(policy);
        cluster
    }

    fn spec(&mut self) -> &mut StatefulSetSpec {
        *self.set.metadata.generation.get_or_insert(0) += 1;
        self.set.spec.get_or_insert_default()
    }

    fn status(&self) -> StatefulSetStatus {
        self.set.status.clone().unwrap_or_default()
    }

    fn say(&mut self, line: impl AsRef<str>) {
        let mut line = line.as_ref().to_owned();
        for (i, name) in self.letters.iter().enumerate() {
            line = line.replace(name, &format!("web-{}", char::from(b'A' + u8::try_from(i).unwrap_or(25))));
        }
        writeln!(self.log, "{line}").expect("strings can be written to");
    }

    fn scale(&mut self, replicas: i32) {
        self.spec().replicas = Some(replicas);
        self.say(format!("# scale to {replicas}"));
    }

    fn set_image(&mut self, image: &str) {
        self.spec().template = template(image);
        self.say(format!("# image {image}"));
    }

    fn set_partition(&mut self, partition: i32) {
        let strategy = self.spec().update_strategy.get_or_insert_default();
        strategy.rolling_update.get_or_insert_default().partition = Some(partition);
        self.say(format!("# partition {partition}"));
    }

    fn observe(&self) -> Observed {
        let selector = selector_of(self.set.spec.as_ref().map(|s| &s.selector)).expect("a selector");
        let mine = |meta: &ObjectMeta| {
            let owner = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true));
            owner.is_none_or(|owner| owner.uid == "set")
        };
        let (own, others): (Vec<_>, Vec<_>) = self.revisions.values().partition(|r| mine(&r.metadata));
        let cached = |all: Vec<&ControllerRevision>| all.into_iter().map(Cached::of).collect();
        Observed {
            set: Arc::new(self.set.clone()),
            selector,
            deleting: self.set.metadata.deletion_timestamp.is_some(),
            pods: self.pods.values().map(|pod| Replica::of(Cached::of(pod))).collect(),
            revisions: cached(own),
            namesakes: cached(others),
            claims: self.claims.iter().map(|(name, claim)| (name.clone(), Cached::of(claim))).collect(),
        }
    }

    /// Plans once and does it; returns whether there was anything to do.
    fn round(&mut self) -> bool {
        let plan = plan(&self.observe(), self.now);
        for action in &plan.actions {
            self.apply(action);
        }
        !plan.actions.is_empty()
    }

    /// Plans until nothing is left to do; kubelets do nothing meanwhile.
    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.round() {
                return;
            }
        }
        panic!("the plans do not come to rest:\n{}", self.log);
    }

    /// Lets kubelets work too, until all is at rest.
    fn run_out(&mut self) {
        for _ in 0..300 {
            let busy = self.round();
            let before = (self.pods.clone(), self.claims.len());
            self.end();
            self.run_all();
            if !busy && before == (self.pods.clone(), self.claims.len()) {
                return;
            }
        }
        panic!("the cluster does not come to rest:\n{}", self.log);
    }

    fn uid(&mut self) -> Option<String> {
        self.uids += 1;
        Some(format!("uid-{}", self.uids))
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Batch(all) | Action::Series(all) => all.iter().for_each(|one| self.apply(one)),
            Action::Told { action, words } => {
                self.apply(action);
                self.say(format!("  event {} {}", words.done.0, words.done.1));
            }
            Action::Event { reason, message, .. } => self.say(format!("  event {reason} {message}")),
            Action::Create { target, object } => match target.resource.resource.as_str() {
                "pods" => {
                    let mut made: Pod = object.typed().expect("a pod");
                    let name = made.metadata.name.clone().expect("pods have names");
                    assert!(!self.pods.contains_key(&name), "{name} is there already\n{}", self.log);
                    made.metadata.uid = self.uid();
                    made.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
                    self.pods.insert(name, made);
                }
                "persistentvolumeclaims" => {
                    let mut made: PersistentVolumeClaim = object.typed().expect("a claim");
                    let name = made.metadata.name.clone().expect("claims have names");
                    assert!(!self.claims.contains_key(&name), "{name} is there already");
                    made.metadata.uid = self.uid();
                    self.claims.insert(name, made);
                }
                "controllerrevisions" => {
                    let mut made: ControllerRevision = object.typed().expect("a revision");
                    let name = made.metadata.name.clone().expect("revisions have names");
                    assert!(!self.revisions.contains_key(&name), "{name} is there already");
                    made.metadata.uid = self.uid();
                    self.letters.push(name.clone());
                    self.say(format!("  revision {} {name}", made.revision));
                    self.revisions.insert(name, made);
                }
                other => panic!("unexpected create of {other}"),
            },
            Action::Delete { target, .. } if target.resource.resource == "pods" => {
                let gone = self.pods.get_mut(&target.name).expect("the pod is there");
                assert!(gone.metadata.deletion_timestamp.is_none(), "{} is deleted twice", target.name);
                gone.metadata.deletion_timestamp = Some(Time(self.now));
            }
            Action::Delete { target, .. } => {
                self.revisions.remove(&target.name).expect("the revision is there");
                self.say(format!("  revision {} is deleted", target.name));
            }
            Action::Update { target, object } => self.update(target, object),
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
                let meta = match target.resource.resource.as_str() {
                    "pods" => &mut self.pods.get_mut(&target.name).expect("the pod is there").metadata,
                    _ => &mut self.revisions.get_mut(&target.name).expect("the revision is there").metadata,
                };
                meta.owner_references = references;
                self.say(format!("  {} {}", if released { "release" } else { "adopt" }, target.name));
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn update(&mut self, target: &informer::Target, object: &api::Object) {
        match target.resource.resource.as_str() {
            "statefulsets" => {
                let set: StatefulSet = object.typed().expect("a set");
                let (before, after) = (self.status(), set.status.expect("a status"));
                let change = merge::difference(&before, &after).expect("a write only where it is new");
                self.set.status = Some(after);
                self.say(format!("  status {change}"));
            }
            "persistentvolumeclaims" => {
                let claim: PersistentVolumeClaim = object.typed().expect("a claim");
                let owners = claim.metadata.owner_references.iter().flatten();
                let owners: Vec<String> = owners.map(|o| format!("{}/{}", o.kind, o.name)).collect();
                self.say(format!("  claim {} of [{}]", target.name, owners.join(", ")));
                self.claims.insert(target.name.clone(), claim);
            }
            "pods" => {
                let pod: Pod = object.typed().expect("a pod");
                self.pods.insert(target.name.clone(), pod);
            }
            other => panic!("unexpected update of {other}"),
        }
    }

    fn each(&mut self, what: &str, change: impl Fn(&mut Pod, Timestamp), names: &[&str]) {
        self.say(format!("# {what} {}", names.join(" ")));
        for name in names {
            change(self.pods.get_mut(*name).expect(name), self.now);
        }
    }

    fn runs(&mut self, names: &[&str]) {
        self.each("ready:", run, names);
    }

    fn run_all(&mut self) {
        for pod in self.pods.values_mut() {
            if !pods::is_terminal(pod) && pod.metadata.deletion_timestamp.is_none() && !pods::is_ready(pod) {
                run(pod, self.now);
            }
        }
    }

    /// Pods told to end are gone, and with them the claims that they own.
    fn end(&mut self) {
        self.pods.retain(|_, p| p.metadata.deletion_timestamp.is_none());
        let alive: Vec<String> = self.pods.values().filter_map(|p| p.metadata.uid.clone()).collect();
        let lives = |owner: &OwnerReference| owner.uid == "set" || alive.contains(&owner.uid);
        let gone = |claim: &PersistentVolumeClaim| {
            let owners = claim.metadata.owner_references.as_deref().unwrap_or(&[]);
            !owners.is_empty() && !owners.iter().any(lives)
        };
        self.claims.retain(|_, claim| !gone(claim));
    }

    fn ended(&mut self) {
        self.say("# deleted pods are gone");
        self.end();
    }

    /// The ordinals and images of the pods that are not going.
    fn images(&self) -> Vec<(i32, &str)> {
        let staying = self.pods.values().filter(|p| p.metadata.deletion_timestamp.is_none());
        let mut all: Vec<_> = staying
            .map(|p| {
                let name = p.metadata.name.as_deref().unwrap_or("");
                (names::ordinal(&self.set, name).expect("a pod of the set"), image(p))
            })
            .collect();
        all.sort_unstable();
        all
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

fn fails(pod: &mut Pod, _: Timestamp) {
    pod.status.get_or_insert_default().phase = Some("Failed".into());
}
