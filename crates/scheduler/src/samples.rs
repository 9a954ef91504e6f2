//! Nodes and pods for tests that try many of them.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

pub fn node(number: usize, zone: u8) -> Node {
    let mut labels = json!({"kubernetes.io/hostname": format!("n{number}")});
    if zone > 0 {
        labels["zone"] = zone.to_string().into();
    }
    serde_json::from_value(json!({
        "metadata": {"name": format!("n{number}"), "labels": labels},
        "spec": {"taints": if zone == 3 { json!([{"key": "k", "effect": "NoSchedule"}]) } else { Value::Null }},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "6"}},
    }))
    .expect("a node")
}

/// One of a few templates; `sort` says what the pod is and what it wants.
pub fn pod(name: &str, sort: u8, leaving: bool) -> Pod {
    let app = ["a", "b"][usize::from(sort % 2)];
    let other = ["a", "b"][usize::from(sort / 8 % 2)];
    let key = if sort.is_multiple_of(3) { "zone" } else { "kubernetes.io/hostname" };
    let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": other}}});
    let soft = json!([{"weight": 10, "podAffinityTerm": term}]);
    let spread = |when: &str| {
        json!([
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": {"matchLabels": {"app": app}},
            "nodeTaintsPolicy": if sort.is_multiple_of(2) { "Honor" } else { "Ignore" }},
        {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": when, "minDomains": Value::Null,
            "labelSelector": {"matchLabels": {"app": other}}}])
    };
    let mut spec = match sort % 8 {
        1 => {
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
        }
        2 => json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}),
        3 => json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": soft}}}),
        4 => {
            json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": soft}}})
        }
        5 => json!({"topologySpreadConstraints": spread("DoNotSchedule")}),
        6 => json!({"topologySpreadConstraints": spread("ScheduleAnyway")}),
        7 => json!({"nodeSelector": {"zone": "1"}, "topologySpreadConstraints": spread("DoNotSchedule")}),
        _ => json!({}),
    };
    spec["containers"] = json!([{"name": "c", "resources": {"requests": {"cpu": format!("{}m", 300 + 100 * u32::from(sort % 4))}}}]);
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": app},
            "deletionTimestamp": leaving.then_some("2026-01-01T00:00:00Z")},
        "spec": spec,
    }))
    .expect("a pod")
}
