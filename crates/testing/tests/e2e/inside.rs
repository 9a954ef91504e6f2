//! Section I: how it works inside: W142.

use serde_json::json;

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w142_the_scheduler_binds_and_the_node_runs_through_cri", w142)];

fn w142(scene: &Scene) {
    let sh = &scene.shell;
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");

    // Nobody schedules a pod of another scheduler: it waits, unbound, until one binds it through the API.
    let mut foreign = pod("foreign", STAY);
    foreign["spec"]["schedulerName"] = "mine".into();
    sh.apply(&format!("{foreign}\n{}", pod("ours", STAY)));
    sh.ok("kubectl wait --for=condition=Ready pod/ours --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod foreign -o jsonpath='{.spec.nodeName}{.status.conditions}'"), "");
    let namespace = &scene.namespace;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": "foreign"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}
    });
    sh.file("binding.json", &binding.to_string());
    let path = format!("/api/v1/namespaces/{namespace}/pods/foreign/binding");
    sh.ok(&format!("kubectl create --raw {path} -f binding.json"));
    sh.ok("kubectl wait --for=condition=Ready pod/foreign --timeout=60s");
    let again = sh.fails(&format!("kubectl create --raw {path} -f binding.json"));
    assert!(again.contains(&format!("pod foreign is already assigned to node \"{node}\"")), "{again}");
    let shown = "'{.spec.nodeName} {.status.conditions[?(@.type==\"PodScheduled\")].status}'";
    for name in ["foreign", "ours"] {
        assert_eq!(sh.ok(&format!("kubectl get pod {name} -o jsonpath={shown}")), format!("{node} True"));
    }
    let events = "-o custom-columns=R:.reason,C:.reportingComponent --no-headers";
    let told = sh.ok(&format!("kubectl get events --field-selector involvedObject.name=ours {events}"));
    let told: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    for wanted in [["Scheduled", "default-scheduler"], ["Started", "kubelet"]] {
        assert!(told.iter().any(|event| event == &wanted), "{wanted:?} is missing in {told:?}");
    }

    // What the API says of the pod is what the node's runtime says, over CRI.
    let id = sh.ok("kubectl get pod ours -o jsonpath={.status.containerStatuses[0].containerID}");
    let (runtime, id) = id.split_once("://").expect("an id with its runtime");
    assert_eq!(runtime, "knarr");
    let containers = scene.cluster().knarr(&["crictl", "ps"]).expect("the list of containers");
    let row = containers.lines().find(|line| id.starts_with(line.split_whitespace().next().unwrap_or("-")));
    assert!(row.is_some_and(|row| row.contains(" ours ")), "{id} is missing in\n{containers}");
    let version =
        sh.ok(&format!("kubectl get node {node} -o jsonpath={{.status.nodeInfo.containerRuntimeVersion}}"));
    assert!(version.starts_with("knarr://"), "{version}");

    // Gone from the API, gone from the node.
    sh.ok("kubectl delete pod ours foreign");
    let pods = scene.cluster().knarr(&["crictl", "pods"]).expect("the list of sandboxes");
    assert!(!pods.lines().any(|line| line.contains(namespace) && line.contains(" Ready ")), "{pods}");
}
