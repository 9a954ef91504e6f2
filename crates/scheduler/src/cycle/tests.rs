use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn node(name: &str, cpu: &str, extra: Value) -> Node {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "110"}},
    });
    if let (Some(spec), Some(labels)) = (extra.get("spec"), value["metadata"]["labels"].as_object_mut()) {
        for (key, label) in extra.get("labels").and_then(Value::as_object).into_iter().flatten() {
            labels.insert(key.clone(), label.clone());
        }
        value["spec"] = spec.clone();
    }
    serde_json::from_value(value).expect("a node")
}

fn pod(name: &str, spec: Value) -> PodInfo {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec,
    }))
    .expect("a pod");
    PodInfo::new(&Arc::new(pod))
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
}

fn table(nodes: &[Node]) -> Nodes {
    let mut table = Nodes::default();
    for node in nodes {
        table.set_node(node);
    }
    table
}

fn check_message(nodes: &Nodes, spec: Value, expected: &str) {
    let (decision, _) = decide(&pod("p", spec), nodes, Chance::default());
    assert_eq!(decision, Decision::Unschedulable(expected.to_owned()));
}

#[test]
fn refusals_are_told_in_upstreams_words() {
    check_message(&Nodes::default(), asks("1"), "no nodes available to schedule pods");
    let mut nodes = table(&[
        node("a", "1", json!({})),
        node("b", "4", json!({"spec": {"unschedulable": true}})),
        node("c", "4", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}})),
    ]);
    nodes.place(&pod("filler", asks("500m")), "a");
    check_message(
        &nodes,
        asks("800m"),
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were \
         unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims \
         found for incoming pod, 2 Preemption is not helpful for scheduling.",
    );
    check_message(
        &table(&[node("a", "1", json!({}))]),
        json!({"containers": [{"name": "c"}], "nodeSelector": {"gpu": "true"}}),
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, \
         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn host_ports_belong_to_one_pod() {
    let ports = |port: u16| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port}]}]});
    let mut nodes = table(&[node("a", "4", json!({}))]);
    nodes.place(&pod("first", ports(8888)), "a");
    check_message(
        &nodes,
        ports(8888),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to \
         deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
    assert!(matches!(decide(&pod("p", ports(8889)), &nodes, Chance::default()).0, Decision::Bind(_)));
    assert!(nodes.remove_pod("first"));
    assert!(matches!(decide(&pod("p", ports(8888)), &nodes, Chance::default()).0, Decision::Bind(_)));
}

#[test]
fn affinity_taints_and_preferences_lead_to_a_node() {
    let nodes = table(&[
        node("plain", "4", json!({})),
        node("gpu", "4", json!({"labels": {"gpu": "2"}, "spec": {}})),
        node(
            "tainted",
            "4",
            json!({"labels": {"gpu": "9"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
        ),
    ]);
    let affinity = |operator: &str, value: &str| {
        json!({"containers": [{"name": "c"}], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "gpu", "operator": operator, "values": [value]}]}]}}}})
    };
    let bind = |spec: Value| decide(&pod("p", spec), &nodes, Chance::default()).0;
    assert_eq!(bind(affinity("Gt", "1")), Decision::Bind("gpu".into()));
    let mut tolerant = affinity("Gt", "5");
    tolerant["tolerations"] = json!([{"key": "k", "operator": "Exists"}]);
    assert_eq!(bind(tolerant), Decision::Bind("tainted".into()));
    let preferring = json!({"containers": [{"name": "c"}], "affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "preference":
            {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}}]}}});
    assert_eq!(bind(preferring), Decision::Bind("gpu".into()));
}

#[test]
fn equal_nodes_share_the_load() {
    let mut nodes = table(&[node("a", "4", json!({})), node("b", "4", json!({})), node("c", "4", json!({}))]);
    for i in 0..9 {
        let pod = pod(&format!("p{i}"), asks("100m"));
        let Decision::Bind(chosen) = decide(&pod, &nodes, Chance { start: 0, tie: i }).0 else {
            panic!("pod {i} must fit");
        };
        nodes.place(&pod, &chosen);
    }
    assert!(nodes.iter().all(|node| node.pods == 3));
}

proptest! {
    #[test]
    fn no_node_is_ever_over_committed(sizes in proptest::collection::vec(1u32..2500, 1..80), seed in any::<u64>()) {
        let mut nodes = table(&[node("a", "3", json!({})), node("b", "2", json!({})), node("c", "1500m", json!({}))]);
        let mut start = 0;
        for (i, size) in sizes.iter().enumerate() {
            let pod = pod(&format!("p{i}"), asks(&format!("{size}m")));
            let (decision, next) = decide(&pod, &nodes, Chance { start, tie: seed.wrapping_add(i as u64) });
            start = next;
            if let Decision::Bind(chosen) = decision {
                nodes.place(&pod, &chosen);
            }
            if i % 7 == 3 {
                nodes.remove_pod(&format!("p{}", i / 2));
            }
            for node in nodes.iter() {
                prop_assert!(node.requested.cpu_milli <= node.allocatable.cpu_milli);
                prop_assert!(node.requested.cpu_milli >= 0);
            }
        }
    }
}
