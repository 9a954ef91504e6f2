//! Manifests that many rows start from.

use serde_json::{Value, json};

/// A script that stays, and ends as soon as it is asked to.
pub const STAY: &str = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done";

/// A pod of one busybox container `main` that runs a script.
pub fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container("main", script)]}
    })
}

/// A busybox container that runs a script.
pub fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox:1.36", "command": ["sh", "-c", script]})
}

/// A pod that runs a script once.
pub fn once(name: &str, script: &str) -> Value {
    let mut pod = pod(name, script);
    pod["spec"]["restartPolicy"] = "Never".into();
    pod
}

/// A pod of the test web server.
pub fn kubia(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [server_container()]}
    })
}

/// A controller's manifest with pods of the test web server, labelled `app: NAME`.
pub fn replicated(api_version: &str, kind: &str, name: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    let selector =
        if kind == "ReplicationController" { labels.clone() } else { json!({"matchLabels": labels}) };
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": selector,
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [server_container()]}
            }
        }
    })
}

fn server_container() -> Value {
    json!({
        "name": "kubia", "image": "luksa/kubia", "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8080}]
    })
}
