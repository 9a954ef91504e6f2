//! What is said, and that it is what is decided.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cycle::{Chance, Decision, decide};
use crate::samples;

fn of<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn node(name: &str, cpu: &str, spec: Value) -> Node {
    of(
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "disk": "hdd"}}, "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "9"}}}),
    )
}

fn pod(name: &str, on: &str, cpu: &str, spec: Value) -> Pod {
    let mut spec = spec;
    spec["containers"] =
        json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}, "ports": spec["ports"]}]);
    spec["nodeName"] = on.into();
    of(json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec}))
}

/// Each node with its reasons, what is behind them, and what would help.
fn told(pod: &Pod, world: &World) -> Vec<String> {
    let line = |refusal: &Refusal| {
        let changes = refusal
            .remedy
            .as_ref()
            .map(|changes| changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "));
        format!(
            "{}: {} ({}): {}",
            refusal.node,
            refusal.reasons.join(", "),
            refusal.detail,
            changes.unwrap_or_else(|| "nothing helps".to_owned())
        )
    };
    explain(pod, world).refusals.iter().map(line).collect()
}

#[test]
fn each_node_names_its_first_rule_and_the_changes_that_help() {
    let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
    let world = World {
        nodes: vec![
            node("busy", "2", json!({})),
            node(
                "cordoned",
                "8",
                json!({"unschedulable": true, "taints": [
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}),
            ),
            node("full", "2", json!({})),
            node("tainted", "2", taint),
        ],
        pods: vec![pod("a", "busy", "1500m", json!({})), pod("b", "full", "2", json!({}))],
        ..World::default()
    };
    let wants = pod("p", "", "3", json!({}));
    assert_eq!(
        told(&wants, &world),
        [
            "busy: Insufficient cpu (3 of cpu asked for, 500m of 2 free): lower the request for cpu from 3 to 500m",
            "cordoned: node(s) were unschedulable (): uncordon the node",
            "full: Insufficient cpu (3 of cpu asked for, 0 of 2 free): nothing helps",
            "tainted: node(s) had untolerated taint(s) (gpu=yes:NoSchedule): tolerate the taint gpu=yes:NoSchedule and lower the request for cpu from 3 to 2",
        ]
    );
    let found = explain(&wants, &world);
    assert_eq!(
        found.best().map(|refusal| &*refusal.node),
        Some("cordoned"),
        "nothing of the pod is given up"
    );
    assert_eq!(found.size, None, "more than room is missing");
    let larger = World { nodes: vec![node("full", "2", json!({}))], pods: world.pods, ..World::default() };
    assert_eq!(explain(&wants, &larger).size.as_deref(), Some("3 cpu"));
}

#[test]
fn labels_and_ports_are_named() {
    let ports = json!({"ports": [{"containerPort": 80, "hostPort": 80}]});
    let world = World {
        nodes: vec![node("n", "2", json!({}))],
        pods: vec![pod("a", "n", "1", ports.clone())],
        ..World::default()
    };
    let mut wants = ports;
    wants["nodeSelector"] = json!({"disk": "ssd", "zone": "a"});
    assert_eq!(
        told(&pod("p", "", "1", wants), &world),
        [
            "n: node(s) didn't match Pod's node affinity/selector (disk is hdd, not ssd, it has no label zone=a): label the node disk=ssd zone=a and do without host port 80, which another pod has"
        ]
    );
}

#[test]
fn a_claim_that_is_not_there_keeps_the_pod_from_every_node() {
    let world = World { nodes: vec![node("n", "2", json!({}))], ..World::default() };
    let wants = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let found = explain(&pod("p", "", "1", wants), &world);
    assert_eq!(found.nowhere.as_deref(), Some("persistentvolumeclaim \"data\" not found"));
}

proptest! {
    /// The explanation and the decision are of one mind, in verdict and words.
    #[test]
    fn what_is_explained_is_what_is_decided(
        zones in proptest::collection::vec(0u8..4, 1..8),
        placed in proptest::collection::vec((0u8..64, 0usize..8), 0..20),
        sort in 0u8..64,
    ) {
        let world = World {
            nodes: zones.iter().enumerate().map(|(number, zone)| samples::node(number, *zone)).collect(),
            pods: placed.iter().enumerate().map(|(number, (sort, at))| {
                let mut pod = samples::pod(&format!("p{number}"), *sort, false);
                if let Some(spec) = &mut pod.spec {
                    spec.node_name = Some(format!("n{}", at % zones.len()));
                }
                pod
            }).collect(),
            ..World::default()
        };
        let wants = samples::pod("new", sort, false);
        let found = explain(&wants, &world);
        let (decision, _) = decide(&PodInfo::new(&wants), &mut table(&world), Chance::default());
        match decision {
            Decision::Bind(node) => prop_assert!(found.takers.contains(&node)),
            Decision::Unschedulable(refusal) => {
                prop_assert!(found.takers.is_empty());
                let mut counts = BTreeMap::new();
                for reason in found.refusals.iter().flat_map(|refusal| &refusal.reasons) {
                    *counts.entry(reason.clone()).or_insert(0) += 1;
                }
                let mut lines: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
                lines.sort();
                let said = format!("0/{} nodes are available: {}.", zones.len(), lines.join(", "));
                prop_assert_eq!(said, refusal.reasons);
            }
        }
    }
}
