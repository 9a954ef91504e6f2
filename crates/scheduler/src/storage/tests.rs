//! Claims, volumes and classes in caches, and where pods find room for them.

use std::sync::Arc;

use informer::{Cache, Key};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::cycle::{Chance, Decision, decide};
use crate::nodes::Nodes;
use crate::state::{Round, State};

struct Cluster {
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    nodes: Nodes,
}

fn of<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn on(nodes: &[&str]) -> Value {
    json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]}]}}})
}

fn pod(name: &str, claims: &[&str]) -> PodInfo {
    let volumes: Vec<Value> = (claims.iter())
        .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
        .collect();
    let pod: Pod = of(json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"containers": [{"name": "c"}], "volumes": volumes}}));
    PodInfo::new(&pod)
}

impl Cluster {
    /// Two nodes, `a` and `b`.
    fn new() -> Self {
        let (claims, volumes, classes) = (Cache::new(), Cache::new(), Cache::new());
        let mut nodes = Nodes::default();
        nodes.storage = Storage::over(claims.clone(), volumes.clone(), classes.clone());
        for name in ["a", "b"] {
            nodes.set_node(&of(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                "topology.kubernetes.io/zone": format!("zone-{name}")}},
                "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "9"}}})));
        }
        Self { claims, volumes, classes, nodes }
    }

    fn class(&self, name: &str, provisioner: &str, mode: &str) {
        self.classes.apply(of(json!({"metadata": {"name": name}, "provisioner": provisioner,
            "volumeBindingMode": mode})));
    }

    fn claim(&self, name: &str, class: &str, more: &Value) {
        let mut whole = json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}});
        merge(&mut whole, more);
        self.claims.apply(of(whole));
    }

    fn bound(&self, name: &str, volume: &str) {
        self.claim(
            name,
            "s",
            &json!({"spec": {"volumeName": volume},
            "metadata": {"annotations": {volumes::BIND_COMPLETED: "yes"}}}),
        );
    }

    fn volume(&self, name: &str, class: &str, more: &Value) {
        let mut whole = json!({"metadata": {"name": name}, "status": {"phase": "Available"},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}});
        merge(&mut whole["spec"], more);
        self.volumes.apply(of(whole));
    }

    fn decide(&mut self, pod: &PodInfo) -> Result<String, String> {
        match decide(pod, &mut self.nodes, Chance::default()).0 {
            Decision::Bind(node) => Ok(node),
            Decision::Unschedulable(refusal) => {
                assert!(refusal.causes.has(crate::causes::Cause::Storage), "{refusal:?}");
                let why = refusal.reasons.clone();
                Err(why.trim_start_matches("0/2 nodes are available: ").to_owned())
            }
        }
    }
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().expect("an object") {
        if value.is_object() && into[key].is_object() {
            merge(&mut into[key], value);
        } else {
            into[key] = value.clone();
        }
    }
}

fn no(why: &str) -> Result<String, String> {
    Err(why.to_owned())
}

#[test]
fn a_pod_goes_where_its_bound_volume_is() {
    let mut cluster = Cluster::new();
    cluster.bound("c", "v");
    let wanting = pod("p", &["c"]);
    let gone = "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).";
    assert_eq!(cluster.decide(&wanting), no(gone));
    cluster.volume("v", "s", &on(&["b"]));
    assert_eq!(cluster.decide(&wanting).as_deref(), Ok("b"));
    cluster.volume("v", "s", &on(&["elsewhere"]));
    assert_eq!(cluster.decide(&wanting), no("2 node(s) didn't match PersistentVolume's node affinity."));
    cluster.volumes.apply(of(json!({"metadata": {"name": "v",
        "labels": {"topology.kubernetes.io/zone": "zone-a__zone-c"}}, "spec": {}})));
    assert_eq!(cluster.decide(&wanting).as_deref(), Ok("a"));
    cluster.volumes.apply(of(json!({"metadata": {"name": "v",
        "labels": {"topology.kubernetes.io/zone": "zone-c"}}, "spec": {}})));
    assert_eq!(cluster.decide(&wanting), no("2 node(s) had no available volume zone."));
}

#[test]
fn a_claim_that_is_not_ready_is_said_in_upstreams_words() {
    let mut cluster = Cluster::new();
    let wanting = pod("p", &["c"]);
    assert_eq!(cluster.decide(&wanting), no("persistentvolumeclaim \"c\" not found."));
    cluster.claim("c", "none", &json!({}));
    assert_eq!(cluster.decide(&wanting), no("pod has unbound immediate PersistentVolumeClaims."));
    cluster.claim("c", "none", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert_eq!(cluster.decide(&wanting), no("persistentvolumeclaim \"c\" is being deleted."));
    cluster.claim("c", "none", &json!({"status": {"phase": "Lost"}, "spec": {"volumeName": "v"}}));
    let lost = "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\".";
    assert_eq!(cluster.decide(&wanting), no(lost));
}

#[test]
fn a_claim_that_waits_gets_the_smallest_volume_of_a_node_or_one_made_there() {
    let mut cluster = Cluster::new();
    cluster.class("s", volumes::NO_PROVISIONER, "WaitForFirstConsumer");
    cluster.claim("c", "s", &json!({}));
    let wanting = pod("p", &["c"]);
    let none = "2 node(s) didn't find available persistent volumes to bind.";
    assert_eq!(cluster.decide(&wanting), no(none));
    cluster.volume("v", "s", &on(&["b"]));
    assert_eq!(cluster.decide(&wanting).as_deref(), Ok("b"));
    cluster.class("s", "example.com/p", "WaitForFirstConsumer");
    cluster.claim("c", "s", &json!({"metadata": {"annotations": {volumes::SELECTED_NODE: "a"}}}));
    assert_eq!(cluster.decide(&wanting).as_deref(), Ok("a"), "a node was chosen before");
    cluster.classes.apply(of(json!({"metadata": {"name": "s"}, "provisioner": "example.com/p",
        "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": [{"matchLabelExpressions": [
            {"key": "kubernetes.io/hostname", "values": ["b"]}]}]})));
    assert_eq!(cluster.decide(&wanting), no(none));
}

#[test]
fn what_was_decided_counts_before_it_is_written() {
    let mut cluster = Cluster::new();
    cluster.class("s", volumes::NO_PROVISIONER, "WaitForFirstConsumer");
    cluster.volume("v", "s", &on(&["b"]));
    for claim in ["c", "d"] {
        cluster.claim(claim, "s", &json!({}));
    }
    let (first, second) = (pod("p", &["c"]), pod("q", &["d"]));
    assert_eq!(cluster.decide(&first).as_deref(), Ok("b"));
    let wanted = cluster.nodes.storage.wanted(&first).expect("claims").expect("it has some");
    let choices = wanted.choose(cluster.nodes.get("b").expect("the node")).expect("a volume");
    assert_eq!(choices.volumes[0].0, Key::new("ns", "c"));
    cluster.nodes.storage.assume("b", &choices);
    let none = "2 node(s) didn't find available persistent volumes to bind.";
    assert_eq!(cluster.decide(&second), no(none));
    assert_eq!(cluster.decide(&pod("r", &["c"])).as_deref(), Ok("b"), "who shares the claim goes there too");
    cluster.nodes.storage.settle(&choices);
    assert_eq!(cluster.decide(&second).as_deref(), Ok("b"));
}

#[test]
fn a_claim_for_one_pod_is_used_by_one() {
    let mut cluster = Cluster::new();
    cluster.volume("v", "s", &json!({}));
    cluster.claim(
        "c",
        "s",
        &json!({"spec": {"volumeName": "v", "accessModes": ["ReadWriteOncePod"]},
        "metadata": {"annotations": {volumes::BIND_COMPLETED: "yes"}}}),
    );
    let (first, second) = (pod("p", &["c"]), pod("q", &["c"]));
    assert!(cluster.decide(&first).is_ok());
    cluster.nodes.place(&first, "a");
    let taken =
        "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.";
    assert_eq!(cluster.decide(&second), no(taken));
    cluster.nodes.remove_pod("p");
    assert!(cluster.decide(&second).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_a_claim_is_woken_by_that_claim() {
    let Cluster { claims, volumes, classes, nodes: _ } = Cluster::new();
    let mut state = State::default();
    state.store_in(Storage::over(claims.clone(), volumes, classes));
    let now = Instant::now();
    state
        .node_changed(&of(json!({"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "9"}}})), now);
    state.queue.add(pod("p", &["c"]), now);
    assert!(matches!(state.round(0, now), Some(Round::Unschedulable(..))));
    state.claim_changed(&Key::new("ns", "other"), now);
    assert!(state.queue().waits_for_a_change("p"));
    state.claim_changed(&Key::new("ns", "c"), now);
    assert!(!state.queue().waits_for_a_change("p"));
    let waiting =
        Arc::new(of::<PersistentVolumeClaim>(json!({"metadata": {"name": "c", "namespace": "ns"}})));
    claims.apply(PersistentVolumeClaim::clone(&waiting));
    assert!(matches!(state.round(0, now), Some(Round::Unschedulable(..))));
    state.storage_changed(now);
    assert!(!state.queue().waits_for_a_change("p"), "a volume may be for it");
}

#[test]
fn a_node_has_no_more_volumes_of_a_driver_than_the_driver_allows() {
    let mut cluster = Cluster::new();
    let nodes: Cache<k8s_openapi::api::storage::v1::CSINode> = Cache::new();
    let limited = Limits::over(nodes.clone(), Cache::new(), Cache::new());
    cluster.nodes.storage = cluster.nodes.storage.clone().limited_by(limited);
    let allow = |node: &str, count: u32| {
        nodes.apply(of(json!({"metadata": {"name": node}, "spec": {"drivers": [
            {"name": "d", "nodeID": node, "allocatable": {"count": count}}]}})));
    };
    allow("a", 1);
    allow("b", 1);
    for number in 1..=3 {
        cluster.bound(&format!("c{number}"), &format!("v{number}"));
        let handle = format!("h{number}");
        cluster.volume(&format!("v{number}"), "s", &json!({"csi": {"driver": "d", "volumeHandle": handle}}));
    }
    let two = pod("p", &["c1", "c2"]);
    assert_eq!(cluster.decide(&two), no("2 node(s) exceed max volume count."));
    cluster.nodes.place(&pod("q", &["c3"]), "a");
    assert_eq!(cluster.decide(&pod("r", &["c1"])).as_deref(), Ok("b"));
    cluster.nodes.place(&pod("s", &["c2"]), "b");
    assert_eq!(cluster.decide(&pod("r", &["c1"])), no("2 node(s) exceed max volume count."));
    assert!(cluster.decide(&pod("r", &["c3"])).is_ok(), "the volume is there already");
    allow("b", 2);
    assert_eq!(cluster.decide(&pod("r", &["c1"])).as_deref(), Ok("b"));
    cluster.nodes.remove_pod("q");
    allow("b", 0);
    assert_eq!(cluster.decide(&pod("r", &["c1"])).as_deref(), Ok("a"));
}

#[test]
fn a_volume_is_made_where_its_driver_says_that_there_is_room() {
    let mut cluster = Cluster::new();
    let (drivers, capacities) = (Cache::new(), Cache::new());
    let limited = Limits::over(Cache::new(), drivers.clone(), capacities.clone());
    cluster.nodes.storage = cluster.nodes.storage.clone().limited_by(limited);
    cluster.class("s", "d", "WaitForFirstConsumer");
    cluster.claim("c", "s", &json!({}));
    let wanting = pod("p", &["c"]);
    assert!(cluster.decide(&wanting).is_ok(), "the driver says nothing");
    drivers.apply(of(json!({"metadata": {"name": "d"}, "spec": {"storageCapacity": true}})));
    let none = "2 node(s) did not have enough free storage.";
    assert_eq!(cluster.decide(&wanting), no(none));
    let room = |capacity: &str| {
        let topology = json!({"matchLabels": {"kubernetes.io/hostname": "b"}});
        of(
            json!({"metadata": {"name": "r", "namespace": "ns"}, "storageClassName": "s", "capacity": capacity,
            "nodeTopology": topology}),
        )
    };
    capacities.apply(room("500Mi"));
    assert_eq!(cluster.decide(&wanting), no(none));
    capacities.apply(room("2Gi"));
    assert_eq!(cluster.decide(&wanting).as_deref(), Ok("b"));
}
