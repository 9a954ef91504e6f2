//! The objects that are sent.

use serde_json::{Value, json};

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// About 1 KB; `changing` makes an update a change.
pub fn config_map(namespace: &str, name: &str, changing: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "bench"}},
        "data": {"payload": "x".repeat(1000), "changing": changing},
    })
}

/// About 5 KB as stored, and nobody's to schedule: an object to read.
pub fn large_pod(namespace: &str, name: &str) -> Value {
    let env: Vec<Value> =
        (0..20).map(|i| json!({"name": format!("SETTING_{i}"), "value": format!("{i:0>60}")})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"app": "web", "tier": "front", "pod-template-hash": "6c9d7b8f5d"},
        },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "web", "image": "busybox:1.36", "command": ["sleep", "3600"], "env": env,
                "ports": [{"name": "http", "containerPort": 8080}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
                "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}],
            }],
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
        },
    })
}

pub fn sleeping_pod(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": sleeping(),
    })
}

pub fn deployment(namespace: &str, name: &str, replicas: usize) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": sleeping()},
        },
    })
}

fn sleeping() -> Value {
    json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "c", "image": "busybox:1.36", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"],
        }],
    })
}
