use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;

fn node(name: &str, cpu: &str, labels: Value, spec: Value) -> Node {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "110"}},
    });
    for (key, label) in labels.as_object().into_iter().flatten() {
        value["metadata"]["labels"][key] = label.clone();
    }
    serde_json::from_value(value).expect("a node")
}

fn pod(name: &str, app: &str, spec: Value) -> PodInfo {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": app}}, "spec": spec,
    }))
    .expect("a pod");
    PodInfo::new(&pod)
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
}

fn affinity(kind: &str, topology_key: &str) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": topology_key, "labelSelector": {"matchLabels": {"app": "web"}}}]}}})
}

/// A table and the pods that wait beside it.
#[derive(Default)]
struct Scene {
    nodes: Nodes,
    waitlist: Waitlist,
}

impl Scene {
    fn waits(&mut self, pod: &PodInfo, causes: &[Cause]) {
        self.waitlist.insert(pod, causes.iter().copied().collect());
    }

    fn node(&mut self, node: &Node) -> Vec<String> {
        let aspects = self.nodes.set_node(node);
        let name = node.metadata.name.as_deref().expect("a name");
        let woken = self.waitlist.node_changed(self.nodes.get(name).expect("the node"), aspects);
        sorted(woken)
    }

    fn comes(&mut self, pod: &PodInfo, node: &str) -> Vec<String> {
        assert!(self.nodes.place(pod, node).is_some_and(|arrival| arrival.instead_of.is_none()));
        sorted(self.waitlist.pod_came(&pod.shape.identity, self.nodes.namespaces()))
    }

    fn goes(&mut self, name: &str) -> Vec<String> {
        let gone = self.nodes.remove_pod(name).expect("it was there");
        sorted(self.waitlist.pod_left(&gone, &self.nodes))
    }

    fn classes(&self) -> Vec<(Causes, usize)> {
        self.waitlist.classes.iter().map(|(_, class)| (class.causes, class.groups.len())).collect()
    }
}

fn sorted(woken: Woken) -> Vec<String> {
    let mut woken: Vec<String> = woken.iter().map(|uid| uid.to_string()).collect();
    woken.sort();
    woken
}

const NOBODY: [&str; 0] = [];

#[test]
fn pods_are_woken_by_what_may_help_them() {
    let mut scene = Scene::default();
    for name in ["a", "b", "c"] {
        scene.node(&node(name, "4", json!({"zone": name}), json!({})));
        scene.comes(&pod(&format!("{name}0"), "web", json!({})), name);
    }
    let loner = pod("loner", "web", affinity("podAntiAffinity", "kubernetes.io/hostname"));
    scene.waits(&loner, &[Cause::Apart]);
    scene.waits(&pod("plain", "plain", asks("9")), &[Cause::Cpu]);
    assert_eq!(scene.comes(&pod("one more", "web", json!({})), "b"), NOBODY, "one more is no help");
    scene.waits(&pod("follower", "db", affinity("podAffinity", "zone")), &[Cause::Near]);
    assert_eq!(scene.comes(&pod("other", "other", json!({})), "b"), NOBODY);
    assert_eq!(scene.comes(&pod("and more", "web", json!({})), "b"), ["follower"]);
    // One of three that are there is no help, the last one is.
    scene.nodes.attend(&loner.shape);
    assert_eq!(scene.goes("b0"), NOBODY);
    // The node is too small for the plain one even so.
    assert_eq!(scene.goes("a0"), ["loner"]);
    assert_eq!(scene.node(&node("a", "8", json!({"zone": "a"}), json!({}))), NOBODY);
    assert_eq!(scene.node(&node("a", "9", json!({"zone": "a"}), json!({}))), ["plain"]);
    assert!(scene.waitlist.classes.iter().next().is_none() && scene.waitlist.named.is_empty());
    assert!(scene.waitlist.by_cause.iter().all(BTreeSet::is_empty) && scene.waitlist.anywhere.is_empty());
}

#[test]
fn a_change_wakes_only_those_whose_cause_it_cures() {
    let mut scene = Scene::default();
    let closed = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    scene.node(&node("a", "4", json!({}), closed.clone()));
    scene.node(&node("b", "1", json!({}), json!({"unschedulable": true})));
    scene.comes(&pod("filler", "filler", asks("500m")), "b");
    let gpu = json!({"nodeSelector": {"gpu": "1"}});
    scene.waits(&pod("gpu", "gpu", gpu), &[Cause::Labels]);
    scene.waits(&pod("small", "small", asks("800m")), &[Cause::Taints, Cause::Cordon]);
    // Another cause of "b" is found as the first one goes.
    assert_eq!(scene.node(&node("b", "1", json!({}), json!({}))), NOBODY);
    let causes = [Cause::Cordon, Cause::Taints, Cause::Cpu].into_iter().collect();
    assert!(scene.classes().contains(&(causes, 1)), "{:?}", scene.classes());
    assert_eq!(scene.goes("filler"), ["small"]);
    scene.waits(&pod("small", "small", asks("800m")), &[Cause::Taints]);
    assert_eq!(scene.node(&node("b", "2", json!({}), json!({}))), NOBODY, "it waits for a taint to go");
    assert_eq!(scene.node(&node("a", "4", json!({}), json!({}))), ["small"]);
    assert_eq!(scene.node(&node("b", "2", json!({"gpu": "1"}), json!({}))), ["gpu"]);
    scene.waits(&pod("gpu", "gpu", json!({"nodeSelector": {"gpu": "2"}})), &[Cause::Labels]);
    assert_eq!(
        scene.node(&node("c", "2", json!({"gpu": "2"}), closed)),
        NOBODY,
        "a new node, but a closed one"
    );
    assert_eq!(scene.node(&node("c", "2", json!({"gpu": "2"}), json!({}))), ["gpu"]);
}

#[test]
fn pods_that_name_their_node_are_asked_about_this_one_alone() {
    let mut scene = Scene::default();
    for name in ["a", "b"] {
        scene.node(&node(name, "1", json!({}), json!({})));
        scene.comes(&pod(name, "filler", asks("1")), name);
        let mut spec = asks("1");
        spec["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}}});
        scene.waits(&pod(&format!("on {name}"), "agent", spec), &[Cause::Labels, Cause::Cpu]);
    }
    assert!(scene.waitlist.by_cause.iter().all(BTreeSet::is_empty));
    assert_eq!(scene.goes("a"), ["on a"]);
    assert_eq!(scene.node(&node("b", "2", json!({}), json!({}))), ["on b"]);
    assert!(scene.waitlist.named.is_empty());
}

#[test]
fn classes_that_come_to_wait_for_the_same_become_one() {
    let mut scene = Scene::default();
    scene.node(&node("a", "1", json!({}), json!({"unschedulable": true})));
    scene.comes(&pod("filler", "filler", asks("1")), "a");
    for (name, causes) in [("p", &[Cause::Cordon][..]), ("q", &[Cause::Cordon, Cause::Cpu][..])] {
        scene.waits(&pod(name, name, asks("1")), causes);
    }
    assert_eq!(scene.classes().len(), 2);
    assert_eq!(scene.node(&node("a", "1", json!({}), json!({}))), NOBODY);
    assert_eq!(scene.classes(), [([Cause::Cordon, Cause::Cpu].into_iter().collect(), 2)]);
    scene.waitlist.remove(&pod("p", "p", asks("1")));
    assert_eq!(scene.goes("filler"), ["q"]);
    assert!(scene.classes().is_empty());
}

#[test]
fn an_empty_node_that_is_elsewhere_now_helps_those_it_would_hold() {
    let mut scene = Scene::default();
    for name in ["a", "b"] {
        scene.node(&node(name, "4", json!({"zone": "1"}), json!({})));
    }
    scene.comes(&pod("web", "web", json!({})), "a");
    scene.waits(&pod("loner", "web", affinity("podAntiAffinity", "zone")), &[Cause::Apart]);
    let mut big = affinity("podAntiAffinity", "zone");
    big["containers"] = asks("5")["containers"].clone();
    scene.waits(&pod("big", "web", big), &[Cause::Apart]);
    assert_eq!(scene.node(&node("b", "4", json!({"zone": "2"}), json!({}))), ["loner"]);
    // A node with pods takes them along.
    assert_eq!(scene.node(&node("a", "4", json!({"zone": "3"}), json!({}))), ["big"]);
    scene.waits(&pod("loner", "web", affinity("podAntiAffinity", "zone")), &[Cause::Apart]);
    assert_eq!(sorted(scene.waitlist.node_gone(false)), NOBODY);
    assert_eq!(sorted(scene.waitlist.node_gone(true)), ["loner"]);
}

#[test]
fn the_first_of_its_sort_waits_for_the_last_one_to_go() {
    let mut scene = Scene::default();
    scene.node(&node("a", "4", json!({"zone": "1"}), json!({"unschedulable": true})));
    scene.node(&node("b", "4", json!({"zone": "2"}), json!({})));
    for name in ["one", "two"] {
        scene.comes(&pod(name, "web", json!({})), "a");
    }
    let follower = pod("follower", "web", affinity("podAffinity", "zone"));
    scene.nodes.attend(&follower.shape);
    scene.waits(&follower, &[Cause::Cordon, Cause::Near]);
    assert_eq!(scene.goes("one"), NOBODY);
    assert_eq!(scene.goes("two"), ["follower"]);
}
