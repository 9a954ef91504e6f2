//! Claims, volumes and classes in memory: plans are applied to them as the API would, each write bound to the version
//! that was read. Some writes are lost, and what a plan is made of may be old.

use std::collections::BTreeMap;
use std::sync::Arc;

use informer::{Action, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use pods::volumes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{claim, volume};

type Claims = BTreeMap<String, PersistentVolumeClaim>;
type Volumes = BTreeMap<String, PersistentVolume>;

/// The API's objects, and states of earlier.
#[derive(Default)]
struct Cluster {
    claims: Vec<Claims>,
    volumes: Vec<Volumes>,
    classes: BTreeMap<String, StorageClass>,
    waiting_pods: Vec<String>,
    writes: u64,
    events: Vec<String>,
}

fn named<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn claim_named(name: &str, uid: u64, spec: &Value) -> PersistentVolumeClaim {
    let mut whole = json!({"metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-{uid}"),
        "resourceVersion": format!("c{uid}")}, "status": {"phase": "Pending"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    for (key, value) in spec.as_object().expect("an object") {
        whole["spec"][key] = value.clone();
    }
    named(whole)
}

fn volume_named(name: &str, uid: u64, spec: &Value) -> PersistentVolume {
    let mut whole = json!({"metadata": {"name": name, "uid": format!("{name}-{uid}"),
        "resourceVersion": format!("v{uid}")}, "status": {"phase": "Pending"},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "persistentVolumeReclaimPolicy": "Retain"}});
    for (key, value) in spec.as_object().expect("an object") {
        whole["spec"][key] = value.clone();
    }
    named(whole)
}

impl Cluster {
    fn new() -> Self {
        Self { claims: vec![Claims::new()], volumes: vec![Volumes::new()], ..Self::default() }
    }

    fn claims(&self) -> &Claims {
        self.claims.last().expect("there is a newest state")
    }

    fn volumes(&self) -> &Volumes {
        self.volumes.last().expect("there is a newest state")
    }

    fn with_claims(&mut self, change: impl FnOnce(&mut Claims)) {
        let mut new = self.claims().clone();
        change(&mut new);
        self.claims.push(new);
    }

    fn with_volumes(&mut self, change: impl FnOnce(&mut Volumes)) {
        let mut new = self.volumes().clone();
        change(&mut new);
        self.volumes.push(new);
    }

    fn claim(&mut self, name: &str, spec: &Value) {
        self.writes += 1;
        let made = claim_named(name, self.writes, spec);
        self.with_claims(|all| drop(all.insert(name.to_owned(), made)));
    }

    fn volume(&mut self, name: &str, spec: &Value) {
        self.writes += 1;
        let made = volume_named(name, self.writes, spec);
        self.with_volumes(|all| drop(all.insert(name.to_owned(), made)));
    }

    fn class(&mut self, name: &str, more: &Value) {
        let mut whole = json!({"metadata": {"name": name}, "provisioner": "example.com/p"});
        for (key, value) in more.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        self.classes.insert(name.to_owned(), named(whole));
    }

    /// As the binder observes a claim, from caches that are `ages` states behind.
    fn observe_claim(&self, name: &str, ages: (usize, usize)) -> Option<claim::Observed> {
        let claims = &self.claims[self.claims.len() - 1 - ages.0.min(self.claims.len() - 1)];
        let held = &self.volumes[self.volumes.len() - 1 - ages.1.min(self.volumes.len() - 1)];
        let claim = claims.get(name)?.clone();
        let wanted = volumes::volume_name(&claim);
        let live = || self.volumes().get(wanted).filter(|_| volumes::is_bind_completed(&claim));
        let volume = held.get(wanted).or_else(live).cloned().map(Arc::new);
        let class = volumes::class_of_claim(&claim);
        let may_have = |volume: &&PersistentVolume| {
            let of = volumes::claim_of(volume);
            of.is_none() && volumes::class_of_volume(volume) == class
                || of.is_some_and(|of| of.name.as_deref() == Some(name))
        };
        Some(claim::Observed {
            volume,
            class: self.classes.get(class).cloned().map(Arc::new),
            default_class: (!volumes::has_class(&claim))
                .then(|| volumes::default_class(self.classes.values()).map(str::to_owned))
                .flatten(),
            candidates: held.values().filter(may_have).cloned().map(Arc::new).collect(),
            waiting_pods: self.waiting_pods.clone(),
            claim: Arc::new(claim),
        })
    }

    fn observe_volume(&self, name: &str, ages: (usize, usize)) -> Option<volume::Observed> {
        let claims = &self.claims[self.claims.len() - 1 - ages.0.min(self.claims.len() - 1)];
        let held = &self.volumes[self.volumes.len() - 1 - ages.1.min(self.volumes.len() - 1)];
        let volume = Arc::new(held.get(name)?.clone());
        let of = volumes::claim_of(&volume).filter(|of| !volumes::uid(of).is_empty()).cloned();
        let claim = of.and_then(|of| {
            let name = of.name.clone().unwrap_or_default();
            let is_it = |claim: &&PersistentVolumeClaim| claim.metadata.uid == of.uid;
            let cached = claims.get(&name).filter(is_it);
            let asks = !matches!(volumes::phase(&volume), "Released" | "Failed");
            cached.or_else(|| self.claims().get(&name).filter(is_it).filter(|_| asks)).cloned().map(Arc::new)
        });
        Some(volume::Observed { volume, claim })
    }

    fn plan(&self, key: &str, ages: (usize, usize)) -> Plan {
        let now = Timestamp::UNIX_EPOCH;
        let of_claim = self.observe_claim(key, ages).map(|observed| claim::plan(&observed, now));
        let of_volume = || self.observe_volume(key, ages).map(|observed| volume::plan(&observed, now));
        of_claim.or_else(of_volume).unwrap_or_default()
    }

    /// Carries a plan out; from the write `lost` on nothing arrives. Returns whether something was written.
    fn apply(&mut self, plan: &Plan, lost: usize) -> bool {
        let mut has_written = false;
        for (at, action) in plan.actions.iter().enumerate() {
            match action {
                Action::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
                Action::Update { target, object } if at < lost => {
                    let name = object.name().to_owned();
                    let version = object.resource_version().to_owned();
                    self.writes += 1;
                    let new_version = Some(self.writes.to_string());
                    let is_status = target.subresource == "status";
                    let value = Value::Object(object.0.clone());
                    if target.resource.resource == "persistentvolumes" {
                        let Some(held) = self.volumes().get(&name).cloned() else { return has_written };
                        if held.metadata.resource_version.as_deref() != Some(&version) {
                            return has_written;
                        }
                        let sent: PersistentVolume = named(value);
                        let mut new = if is_status {
                            PersistentVolume { status: sent.status, ..held }
                        } else {
                            PersistentVolume { status: held.status, ..sent }
                        };
                        new.metadata.resource_version = new_version;
                        self.with_volumes(|all| drop(all.insert(name, new)));
                    } else {
                        let Some(held) = self.claims().get(&name).cloned() else { return has_written };
                        if held.metadata.resource_version.as_deref() != Some(&version) {
                            return has_written;
                        }
                        let sent: PersistentVolumeClaim = named(value);
                        let mut new = if is_status {
                            PersistentVolumeClaim { status: sent.status, ..held }
                        } else {
                            PersistentVolumeClaim { status: held.status, ..sent }
                        };
                        new.metadata.resource_version = new_version;
                        self.with_claims(|all| drop(all.insert(name, new)));
                    }
                    has_written = true;
                }
                Action::Update { .. } => return has_written,
                other => panic!("the binder does nothing like {other:?}"),
            }
            self.check();
        }
        has_written
    }

    /// What must never be.
    fn check(&self) {
        let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, claim) in self.claims() {
            let held = volumes::volume_name(claim);
            let is_bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
            if is_bound && let Some(other) = holders.insert(held, name) {
                panic!("{name} and {other} are both bound to {held}");
            }
            if let Some(volume) = self.volumes().get(held).filter(|_| volumes::is_bind_completed(claim)) {
                let of = volumes::claim_of(volume);
                let uid = of.map(volumes::uid).unwrap_or_default();
                assert_eq!(uid, claim.metadata.uid.as_deref().unwrap_or_default(), "{held} is {name}'s");
                let phase = volumes::phase(volume);
                assert!(!matches!(phase, "Released" | "Failed"), "{held} of {name} is {phase}");
            }
        }
    }

    /// Decides about everything until nothing is written any more.
    fn settle(&mut self) {
        for _ in 0..100 {
            let keys: Vec<String> = self.claims().keys().chain(self.volumes().keys()).cloned().collect();
            let mut has_written = false;
            for key in keys {
                let plan = self.plan(&key, (0, 0));
                has_written |= self.apply(&plan, usize::MAX);
            }
            if !has_written {
                return;
            }
        }
        panic!("the binder does not come to rest: {:?} {:?}", self.claims(), self.volumes());
    }

    fn said(&self) -> String {
        let claims = self.claims().iter().map(|(name, claim)| {
            let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
            format!("{name}={phase} {}", volumes::volume_name(claim))
        });
        let volumes =
            self.volumes().iter().map(|(name, volume)| format!("{name}={}", volumes::phase(volume)));
        claims.chain(volumes).collect::<Vec<_>>().join(", ")
    }

    fn last_event(&self) -> &str {
        self.events.last().map(String::as_str).unwrap_or_default()
    }
}

#[test]
fn a_claim_and_a_volume_that_fits_are_bound_and_the_volume_is_released_with_the_claim() {
    let mut cluster = Cluster::new();
    cluster.volume("v", &json!({}));
    cluster.claim("c", &json!({}));
    cluster.settle();
    assert_eq!(cluster.said(), "c=Bound v, v=Bound");
    let claim = &cluster.claims()["c"];
    for mark in [volumes::BIND_COMPLETED, volumes::BOUND_BY_CONTROLLER] {
        assert_eq!(volumes::annotation(&claim.metadata.annotations, mark), Some("yes"));
    }
    let status = claim.status.as_ref().expect("a status");
    assert_eq!(status.capacity.as_ref().expect("a capacity")["storage"].0, "1Gi");
    cluster.with_claims(|all| drop(all.remove("c")));
    cluster.settle();
    assert_eq!(cluster.said(), "v=Released");
    cluster.claim("c", &json!({}));
    cluster.settle();
    assert_eq!(cluster.said(), "c=Pending , v=Released", "another claim of the name does not get the data");
    let message = "no persistent volumes available for this claim and no storage class is set";
    assert_eq!(cluster.last_event(), format!("FailedBinding: {message}"));
}

#[test]
fn a_claim_that_names_a_volume_waits_for_that_one() {
    let mut cluster = Cluster::new();
    cluster.volume("other", &json!({}));
    cluster.claim("c", &json!({"volumeName": "v"}));
    cluster.settle();
    assert_eq!(cluster.said(), "c=Pending v, other=Available");
    cluster.volume("v", &json!({"capacity": {"storage": "1Mi"}}));
    cluster.settle();
    assert_eq!(
        cluster.last_event(),
        "VolumeMismatch: Cannot bind to requested volume \"v\": requested PV is too small"
    );
    cluster.volume("v", &json!({}));
    cluster.claim("d", &json!({"volumeName": "v"}));
    cluster.settle();
    assert_eq!(cluster.said(), "c=Bound v, d=Pending v, other=Available, v=Bound");
    assert_eq!(cluster.last_event(), "FailedBinding: volume \"v\" already bound to a different claim.");
    cluster.with_volumes(|all| drop(all.remove("v")));
    cluster.settle();
    assert_eq!(cluster.said(), "c=Lost v, d=Pending v, other=Available");
    let lost = "ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    assert!(cluster.events.iter().any(|event| event == lost));
}

#[test]
fn a_class_whose_claims_wait_has_its_provisioner_asked_once_a_node_is_chosen() {
    let mut cluster = Cluster::new();
    cluster.class("s", &json!({"volumeBindingMode": "WaitForFirstConsumer"}));
    cluster.volume("v", &json!({"storageClassName": "s"}));
    cluster.claim("c", &json!({"storageClassName": "s"}));
    cluster.settle();
    assert_eq!(cluster.said(), "c=Pending , v=Available");
    let told = "WaitForFirstConsumer: waiting for first consumer to be created before binding";
    assert_eq!(cluster.last_event(), told);
    cluster.waiting_pods = vec!["p".into(), "q".into()];
    cluster.settle();
    assert_eq!(cluster.last_event(), "WaitForPodScheduled: waiting for pods p,q to be scheduled");
    cluster.with_claims(|all| {
        let meta = &mut all.get_mut("c").expect("the claim").metadata;
        super::annotate(meta, volumes::SELECTED_NODE, "n");
    });
    cluster.settle();
    let claim = &cluster.claims()["c"];
    let asked = volumes::annotation(&claim.metadata.annotations, volumes::STORAGE_PROVISIONER);
    assert_eq!(asked, Some("example.com/p"));
    assert!(cluster.last_event().starts_with(
        "ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/p'"
    ));
}

#[test]
fn a_claim_without_a_class_gets_the_default_once_there_is_one() {
    let mut cluster = Cluster::new();
    cluster.claim("c", &json!({}));
    cluster.claim("none", &json!({"storageClassName": ""}));
    cluster.settle();
    let mark = json!({"metadata": {"name": "s", "annotations":
        {"storageclass.kubernetes.io/is-default-class": "true"}}});
    cluster.class("s", &mark);
    cluster.settle();
    let class = |name: &str| volumes::class_of_claim(&cluster.claims()[name]).to_owned();
    assert_eq!((class("c"), class("none")), ("s".to_owned(), String::new()));
    cluster.claim("odd", &json!({"storageClassName": "gone"}));
    cluster.settle();
    let gone = "ProvisioningFailed: storageclass.storage.k8s.io \"gone\" not found";
    assert!(cluster.events.iter().any(|event| event == gone), "{:?}", cluster.events);
}

#[test]
fn what_cannot_be_reclaimed_fails_and_says_so_once() {
    for (policy, event) in [
        (
            "Delete",
            "VolumeFailedDelete: error getting deleter volume plugin for volume \"v\": no deletable volume plugin \
             matched",
        ),
        ("Recycle", "VolumeFailedRecycle: No recycler plugin found for the volume!"),
    ] {
        let mut cluster = Cluster::new();
        cluster.volume("v", &json!({"persistentVolumeReclaimPolicy": policy}));
        cluster.settle();
        cluster.claim("c", &json!({}));
        cluster.settle();
        cluster.with_claims(|all| drop(all.remove("c")));
        cluster.settle();
        assert_eq!(cluster.said(), "v=Failed");
        assert_eq!(cluster.events, [event]);
    }
}

/// What a user or a lost write does between the binder's rounds.
#[derive(Debug, Clone)]
enum Step {
    Round { key: usize, ages: (usize, usize), lost: usize },
    Claim { at: usize, wants: Option<usize> },
    Volume { at: usize, kept: Option<usize> },
    RemoveClaim(usize),
    RemoveVolume(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let claim = (0..3usize, proptest::option::weighted(0.2, 0..3usize))
        .prop_map(|(at, wants)| Step::Claim { at, wants });
    let volume = (0..3usize, proptest::option::weighted(0.2, 0..3usize))
        .prop_map(|(at, kept)| Step::Volume { at, kept });
    let round = (0..6usize, (0..4usize, 0..4usize), prop_oneof![3 => Just(usize::MAX), 1 => 0..3usize])
        .prop_map(|(key, ages, lost)| Step::Round { key, ages, lost });
    let step = prop_oneof![
        8 => round,
        1 => claim,
        1 => volume,
        1 => (0..3usize).prop_map(Step::RemoveClaim),
        1 => (0..3usize).prop_map(Step::RemoveVolume),
    ];
    proptest::collection::vec(step, 1..120)
}

impl Cluster {
    fn step(&mut self, step: &Step) {
        let (claims, volumes) = (["a", "b", "c"], ["x", "y", "z"]);
        match *step {
            Step::Round { key, ages, lost } => {
                let plan = self.plan(claims.iter().chain(&volumes).nth(key).expect("of six"), ages);
                self.apply(&plan, lost);
            }
            Step::Claim { at, wants } if !self.claims().contains_key(claims[at]) => {
                let named = wants.map_or(json!({}), |wants| json!({"volumeName": volumes[wants]}));
                self.claim(claims[at], &named);
            }
            Step::Volume { at, kept } if !self.volumes().contains_key(volumes[at]) => {
                let of = |kept: usize| json!({"claimRef": {"name": claims[kept], "namespace": "ns"}});
                self.volume(volumes[at], &kept.map_or(json!({}), of));
            }
            Step::RemoveClaim(at) => self.with_claims(|all| drop(all.remove(claims[at]))),
            // A volume that is bound is kept by its finalizer.
            Step::RemoveVolume(at) => self.with_volumes(|all| {
                let name = volumes[at];
                if all.get(name).is_some_and(|volume| volumes::claim_of(volume).is_none()) {
                    all.remove(name);
                }
            }),
            Step::Claim { .. } | Step::Volume { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn no_volume_has_two_claims_and_none_is_given_up_that_a_claim_has(steps in steps()) {
        let mut cluster = Cluster::new();
        for step in &steps {
            cluster.step(step);
        }
        cluster.settle();
        let is_free = |volume: &&PersistentVolume| volumes::phase(volume) == "Available";
        let is_unkept = |volume: &&PersistentVolume| volumes::claim_of(volume).is_none();
        let free = cluster.volumes().values().filter(is_free).filter(is_unkept).count();
        let waits = |claim: &&PersistentVolumeClaim| volumes::volume_name(claim).is_empty();
        let waiting = cluster.claims().values().filter(waits).count();
        prop_assert!(free == 0 || waiting == 0, "{}", cluster.said());
    }
}
