//! The objects of a played cluster, as kubelets and controllers write them.

use serde_json::{Value, json};

const THEN: &str = "2026-01-01T00:00:00Z";
const IMAGES: [&str; 5] = ["web", "worker", "proxy", "exporter", "pause"];

/// By its number.
pub(crate) fn node_name(number: usize) -> String {
    format!("node-{number:05}")
}

/// A node that is Ready, as its kubelet registers it, with the range of addresses its pods take: such a cluster has
/// more nodes than ranges fit into the network of a cluster on one machine.
pub(crate) fn node(number: usize) -> Value {
    let name = node_name(number);
    let (high, low) = (number / 256, number % 256);
    let range = format!("10.{}.{low}.0/24", 128 + high);
    let resources = |memory: &str, storage: &str| {
        json!({
            "cpu": "32", "memory": memory, "ephemeral-storage": storage, "pods": "110",
            "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name,
                "node.kubernetes.io/instance-type": "m5.8xlarge",
                "topology.kubernetes.io/region": "region-1",
                "topology.kubernetes.io/zone": format!("region-1{}", ["a", "b", "c"][number % 3]),
            },
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {"podCIDR": range, "podCIDRs": [range], "providerID": format!("cloud:///region-1/i-{number:017x}")},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": format!("10.{}.{low}.10", 64 + high)},
                {"type": "Hostname", "address": name},
            ],
            "capacity": resources("131072000Ki", "104845292Ki"),
            "allocatable": resources("130969600Ki", "96625421067"),
            "conditions": conditions(),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "images": images(),
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kernelVersion": "6.12.48+deb13-cloud-amd64",
                "osImage": "Debian GNU/Linux 13 (trixie)", "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.36.0", "kubeProxyVersion": "",
                "machineID": format!("{number:032x}"), "systemUUID": uuid(number), "bootID": uuid(number + 1_000_000),
            },
        },
    })
}

fn uuid(number: usize) -> String {
    format!("6f1c2a3e-8d5b-4c7f-9e21-{number:012x}")
}

fn conditions() -> Value {
    let one = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": THEN, "lastTransitionTime": THEN,
        })
    };
    json!([
        one(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available"
        ),
        one("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        one("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        one("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ])
}

fn images() -> Value {
    let one = |(index, name): (usize, &&str)| {
        let digest = format!("{index:064x}");
        json!({
            "names": [
                format!("registry.example.com/shop/{name}@sha256:{digest}"),
                format!("registry.example.com/shop/{name}:1.{index}.0"),
            ],
            "sizeBytes": 50_000_000 * (5 - index),
        })
    };
    IMAGES.iter().enumerate().map(one).collect()
}

/// The lease of a node, as its kubelet makes it.
pub(super) fn lease(number: usize, node_uid: &str) -> Value {
    let name = node_name(number);
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}],
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"},
    })
}

/// A pod as a Deployment's template makes it.
pub(crate) fn pod(namespace: &str, number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("web-6c9d7b8f5d-{number:05}"), "namespace": namespace,
            "labels": {"app": "web", "tier": "front", "pod-template-hash": "6c9d7b8f5d"},
        },
        "spec": pod_spec(),
    })
}

/// A Job of such pods.
pub(crate) fn job(namespace: &str, name: &str, completions: usize, parallelism: usize) -> Value {
    let mut spec = pod_spec();
    spec["restartPolicy"] = "Never".into();
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "completions": completions, "parallelism": parallelism,
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    })
}

/// A Deployment of such pods.
pub(crate) fn deployment(namespace: &str, name: &str, replicas: usize) -> Value {
    let labels = json!({"app": name, "tier": "back"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
        },
    })
}

fn pod_spec() -> Value {
    json!({
        "containers": [{
            "name": "web", "image": "registry.example.com/shop/web:1.0.0", "args": ["--listen=:8080"],
            "env": [
                {"name": "LOG_LEVEL", "value": "info"},
                {"name": "DATABASE", "value": "postgres://db.shop.svc:5432/shop"},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10},
            "volumeMounts": [{"name": "settings", "mountPath": "/etc/web"}],
        }],
        "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
    })
}

/// What the kubelet writes once a pod runs and is ready.
pub(crate) fn running(number: usize) -> Value {
    let ip = format!("10.{}.{}.{}", 128 + number / 65_536, number / 256 % 256, number % 256);
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": THEN, "observedGeneration": 1});
    json!({"status": {
        "phase": "Running", "startTime": THEN, "observedGeneration": 1,
        "hostIP": "10.64.0.10", "hostIPs": [{"ip": "10.64.0.10"}], "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [
            condition("PodReadyToStartContainers"), condition("Initialized"), condition("Ready"),
            condition("ContainersReady"),
        ],
        "containerStatuses": [{
            "name": "web", "image": "registry.example.com/shop/web:1.0.0", "ready": true, "started": true,
            "imageID": format!("registry.example.com/shop/web@sha256:{:064x}", 0),
            "containerID": format!("containerd://{number:064x}"), "restartCount": 0, "lastState": {},
            "state": {"running": {"startedAt": THEN}},
        }],
    }})
}

/// What the kubelet writes once a pod's only container has ended well.
pub(crate) fn succeeded(number: usize) -> Value {
    let mut status = running(number);
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "PodCompleted", "lastTransitionTime": THEN, "observedGeneration": 1});
    status["status"]["phase"] = "Succeeded".into();
    status["status"]["conditions"] = json!([
        condition("Initialized", "True"),
        condition("Ready", "False"),
        condition("ContainersReady", "False")
    ]);
    let container = &mut status["status"]["containerStatuses"][0];
    container["ready"] = false.into();
    container["started"] = false.into();
    container["state"] = json!({"running": null, "terminated": {"exitCode": 0, "reason": "Completed", "startedAt": THEN, "finishedAt": THEN}});
    status
}
