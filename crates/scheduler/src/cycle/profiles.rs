//! What a pod's profile changes in decisions about it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;
use crate::configuration::Configuration;
use crate::pod::Shapes;
use crate::relations::Labels;
use crate::siblings::Siblings;

const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

fn node(name: &str, extra: Value) -> Node {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "110", "example.com/gpu": "2"}},
    });
    for (key, part) in extra.as_object().into_iter().flatten() {
        for (inner, part) in part.as_object().into_iter().flatten() {
            value[key][inner] = part.clone();
        }
    }
    serde_json::from_value(value).expect("a node")
}

fn table(nodes: &[Node]) -> Nodes {
    let mut table = Nodes::default();
    for node in nodes {
        table.set_node(node);
    }
    table
}

/// A pod of the only profile that these settings describe.
fn pod(settings: &str, name: &str, spec: Value) -> PodInfo {
    among(settings, &Siblings::default(), name, spec)
}

fn among(settings: &str, siblings: &Siblings, name: &str, mut spec: Value) -> PodInfo {
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]);
    }
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"}}, "spec": spec,
    }))
    .expect("a pod");
    let configuration = Configuration::parse(&format!("{HEAD}profiles: [{{{settings}}}]")).expect("settings");
    let mut shapes = Shapes::choosing(configuration.profiles);
    PodInfo::shared(&pod, siblings.of(&pod), &mut shapes)
}

fn chosen(nodes: &mut Nodes, pod: &PodInfo) -> String {
    match decide(pod, nodes, Chance::default()).0 {
        Decision::Bind(node) => node,
        Decision::Unschedulable(refusal) => refusal.message(),
    }
}

#[test]
fn nodes_are_filled_one_after_the_other_where_that_is_asked_for() {
    let packs = "pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]";
    let ratio = "pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: RequestedToCapacityRatio, \
                 requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}}}}]";
    for (settings, expected) in [("", "a"), (packs, "b"), (ratio, "b")] {
        let mut nodes = table(&[node("a", json!({})), node("b", json!({}))]);
        nodes.place(&pod("", "first", json!({})), "b");
        assert_eq!(chosen(&mut nodes, &pod(settings, "p", json!({}))), expected, "{settings}");
    }
}

#[test]
fn rules_that_a_profile_does_without_refuse_nobody() {
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}], "unschedulable": true}});
    let mut nodes = table(&[node("a", tainted)]);
    let without = "plugins: {filter: {disabled: [{name: TaintToleration}, {name: NodeUnschedulable}]}}";
    assert_eq!(chosen(&mut nodes, &pod(without, "p", json!({}))), "a");
    let without = "plugins: {multiPoint: {disabled: [{name: NodeUnschedulable}, {name: DefaultPreemption}]}}";
    let expected = "0/1 nodes are available: 1 node(s) had untolerated taint(s).";
    assert_eq!(chosen(&mut nodes, &pod(without, "p", json!({}))), expected);

    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}}});
    let mut nodes = table(&[node("a", json!({}))]);
    nodes.place(&pod("", "first", apart.clone()), "a");
    assert!(chosen(&mut nodes, &pod("", "p", apart.clone())).contains("anti-affinity"));
    let without = "plugins: {filter: {disabled: [{name: InterPodAffinity}]}}";
    assert_eq!(chosen(&mut nodes, &pod(without, "p", apart)), "a");
}

#[test]
fn a_profile_may_require_nodes_and_ignore_resources() {
    let mut nodes = table(&[node("a", json!({})), node("b", json!({"metadata": {"labels": {"pool": "x"}}}))]);
    let affinity = |pool: &str| {
        format!(
            "pluginConfig: [{{name: NodeAffinity, args: {{addedAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
             {{nodeSelectorTerms: [{{matchExpressions: [{{key: pool, operator: In, values: [{pool}]}}]}}]}}}}}}}}]"
        )
    };
    assert_eq!(chosen(&mut nodes, &pod(&affinity("x"), "p", json!({}))), "b");
    let refusal = chosen(&mut nodes, &pod(&affinity("z"), "p", json!({})));
    let expected = "0/2 nodes are available: 2 node(s) didn't match scheduler-enforced node affinity. ";
    assert!(refusal.starts_with(expected), "{refusal}");

    let gpus = json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "3"}}}]});
    assert!(chosen(&mut nodes, &pod("", "p", gpus.clone())).contains("2 Insufficient example.com/gpu"));
    let ignoring = "pluginConfig: [{name: NodeResourcesFit, args: {ignoredResources: [example.com/gpu]}}]";
    assert!(["a", "b"].contains(&&*chosen(&mut nodes, &pod(ignoring, "p", gpus))));
}

#[test]
fn pods_go_where_their_large_images_are() {
    const GIB: i64 = 1 << 30;
    let with = |name: &str, image: &str, bytes: i64| {
        node(name, json!({"status": {"images": [{"names": [image, "other@sha256:1"], "sizeBytes": bytes}]}}))
    };
    let images = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
    let mut nodes = table(&[node("a", json!({})), with("b", "big:latest", GIB)]);
    assert_eq!(chosen(&mut nodes, &pod("", "p", images("big"))), "b");
    let without = "plugins: {score: {disabled: [{name: ImageLocality}]}}";
    assert_eq!(chosen(&mut nodes, &pod(without, "p", images("big"))), "a", "the first of equals");
    let mut nodes = table(&[node("a", json!({})), with("b", "small:1", GIB / 64)]);
    assert_eq!(chosen(&mut nodes, &pod("", "p", images("small:1"))), "a", "too small to count");
    let volume = json!({"containers": [{"name": "c", "image": "x"}], "volumes": [{"name": "m", "image": {"reference": "big"}}]});
    let mut nodes = table(&[node("a", json!({})), with("b", "big:latest", GIB)]);
    assert_eq!(chosen(&mut nodes, &pod("", "p", volume)), "b", "its volume");
    // A node that loses the image, or goes, has it no longer.
    let mut nodes = table(&[node("a", json!({})), with("b", "big:latest", GIB)]);
    nodes.set_node(&node("b", json!({})));
    assert_eq!(nodes.nodes_with_image("big:latest"), None);
    nodes.set_node(&with("b", "big:latest", GIB));
    assert_eq!((nodes.nodes_with_image("big:latest"), nodes.remove_node("b")), (Some(1), Some(false)));
    assert_eq!(nodes.nodes_with_image("big:latest"), None);
    nodes.set_node(&with("b", "big:latest", GIB));
    assert_eq!(nodes.nodes_with_image("big:latest"), Some(1));
}

#[test]
fn pods_without_constraints_are_spread_among_their_siblings() {
    let zoned = |name: &str, zone: &str, cpu: &str| {
        let status = json!({"allocatable": {"cpu": cpu, "memory": "64Gi", "pods": "110"}});
        let mut labels = json!({"kubernetes.io/hostname": name});
        if !zone.is_empty() {
            labels["topology.kubernetes.io/zone"] = zone.into();
        }
        node(name, json!({"metadata": {"labels": labels}, "status": status}))
    };
    let mut siblings = Siblings::default();
    let selector: Labels = [("app".to_owned(), "web".to_owned())].into();
    siblings.service_changed(&informer::Key::new("ns", "web"), Some(selector));
    // The larger node has more room left.
    let mut nodes = table(&[zoned("small", "", "8"), zoned("large", "", "64")]);
    nodes.place(&among("", &siblings, "first", json!({})), "large");
    assert_eq!(chosen(&mut nodes, &pod("", "p", json!({}))), "large", "it belongs to nobody");
    assert_eq!(chosen(&mut nodes, &among("", &siblings, "p", json!({}))), "small");
    let no_defaults = "pluginConfig: [{name: PodTopologySpread, args: {defaultingType: List}}]";
    assert_eq!(chosen(&mut nodes, &among(no_defaults, &siblings, "p", json!({}))), "large");

    // By zone where nodes say theirs; those that say none count by their names.
    let mut nodes = table(&[zoned("a", "1", "8"), zoned("b", "1", "8"), zoned("c", "2", "8")]);
    nodes.place(&among("", &siblings, "first", json!({})), "a");
    assert_eq!(chosen(&mut nodes, &among("", &siblings, "p", json!({}))), "c");

    let hard = "pluginConfig: [{name: PodTopologySpread, args: {defaultingType: List, defaultConstraints: \
                [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}]}}]";
    let mut nodes = table(&[zoned("a", "", "8"), zoned("b", "", "1")]);
    nodes.place(&among(hard, &siblings, "first", json!({})), "a");
    let held_by_b = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]});
    let refusal = chosen(&mut nodes, &among(hard, &siblings, "p", held_by_b));
    let expected = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints.";
    assert!(refusal.starts_with(expected), "{refusal}");
}

#[test]
fn preferences_of_others_count_unless_the_profile_ignores_them() {
    let prefer = |app: &str| {
        let term =
            json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}});
        json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 100, "podAffinityTerm": term}]}}})
    };
    let mut nodes = table(&[node("a", json!({})), node("b", json!({}))]);
    nodes.place(&pod("", "first", prefer("web")), "b");
    let ignores =
        "pluginConfig: [{name: InterPodAffinity, args: {ignorePreferredTermsOfExistingPods: true}}]";
    assert_eq!(chosen(&mut nodes, &pod("", "p", json!({}))), "b");
    assert_eq!(chosen(&mut nodes, &pod(ignores, "p", json!({}))), "a", "the emptier one");
    assert_eq!(chosen(&mut nodes, &pod(ignores, "p", prefer("nobody"))), "b", "it has a preference itself");
}

#[test]
fn whom_a_pod_was_spread_among_is_no_matter_once_it_is_placed() {
    let mut siblings = Siblings::default();
    let selector: Labels = [("app".to_owned(), "web".to_owned())].into();
    siblings.service_changed(&informer::Key::new("ns", "web"), Some(selector));
    let mut nodes = table(&[node("a", json!({}))]);
    let waiting = among("", &siblings, "p", json!({}));
    assert!(waiting.shape.wishes.is_some());
    assert!(nodes.place(&waiting, "a").is_some());
    assert!(nodes.place(&pod("", "p", json!({})), "a").is_none(), "it is as it was");
}

#[test]
fn profiles_are_found_by_name() {
    let text = format!(
        "{HEAD}profiles: [{{schedulerName: one}}, {{schedulerName: two, percentageOfNodesToScore: 5}}]"
    );
    let profiles = Configuration::parse(&text).expect("settings").profiles;
    let names: Vec<&str> = profiles.iter().map(|profile| &*profile.scheduler_name).collect();
    assert_eq!(names, ["one", "two"]);
    assert!(Arc::ptr_eq(profiles.of("two"), profiles.find("two").expect("a profile")));
    assert!(Arc::ptr_eq(profiles.of("other"), profiles.of("one")) && profiles.find("other").is_none());
    assert_eq!((enough(4000, Some(5)), enough(4000, None), enough(50, Some(5))), (200, 720, 50));
}
