//! What bounds and scales.

use super::*;

#[test]
fn disruption_budgets() {
    let budget = |spec: Value| json!({"metadata": {"name": "b"}, "spec": spec});
    assert_eq!(created("poddisruptionbudgets", &budget(json!({"minAvailable": "50%"}))), [""; 0]);
    let both = created("poddisruptionbudgets", &budget(json!({"minAvailable": 1, "maxUnavailable": 1})));
    assert_eq!(
        both,
        [
            "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set"
        ]
    );
    assert_eq!(
        created("poddisruptionbudgets", &budget(json!({"maxUnavailable": "101%"}))),
        ["spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"]
    );
}

#[test]
fn autoscalers() {
    let scaler = |min: i64, max: i64| {
        let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
        json!({"spec": {"minReplicas": min, "maxReplicas": max, "scaleTargetRef": target}})
    };
    assert_eq!(created("horizontalpodautoscalers", &scaler(1, 3)), [""; 0]);
    assert_eq!(
        created("horizontalpodautoscalers", &scaler(4, 3)),
        ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"]
    );
    assert_eq!(
        created("horizontalpodautoscalers", &with(&scaler(1, 3), "/spec/scaleTargetRef/name", json!(""))),
        ["spec.scaleTargetRef.name: Required value"]
    );
}

#[test]
fn metrics_and_behavior_of_autoscalers() {
    let judged = |metric: Value, behavior: Value| {
        let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
        let spec = json!({"minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": target, "metrics": [metric], "behavior": behavior});
        created("horizontalpodautoscalers", &json!({"apiVersion": "autoscaling/v2", "spec": spec}))
    };
    let target = |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    let good = target(json!({"type": "Utilization", "averageUtilization": 50}));
    assert_eq!(judged(good.clone(), json!({})), [""; 0]);
    let both = json!({"type": "Utilization", "averageUtilization": 0, "averageValue": "-1"});
    assert_eq!(
        judged(target(both), json!({})),
        [
            "spec.metrics[0].resource.target.averageValue: Invalid value: \"-1\": must be positive",
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
            "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
        ]
    );
    let mut mixed = good.clone();
    mixed["type"] = "Pods".into();
    assert_eq!(
        judged(mixed.clone(), json!({})),
        ["spec.metrics[0].pods: Required value: must populate information for the given metric source"]
    );
    mixed["pods"] = json!({"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}});
    assert_eq!(
        judged(mixed, json!({})),
        ["spec.metrics[0].resource: Forbidden: must populate the given metric source only"]
    );
    let policy = |period: i64| json!([{"type": "Pods", "value": 1, "periodSeconds": period}]);
    let rules = json!({"scaleUp": {"stabilizationWindowSeconds": 3601, "selectPolicy": "Any", "policies": policy(1801), "tolerance": "-1"},
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": []}});
    assert_eq!(
        judged(good, rules),
        [
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
            "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"Any\": supported values: \"Disabled\", \"Max\", \"Min\"",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            "spec.behavior.scaleUp.tolerance: Invalid value: \"-1\": must be greater than or equal to 0",
            "spec.behavior.scaleDown.policies: Required value: must specify at least one Policy",
        ]
    );
}

#[test]
fn priority_classes() {
    let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
    assert_eq!(created("priorityclasses", &class("a", 1_000_000_000)), [""; 0]);
    assert_eq!(
        created("priorityclasses", &class("a", 1_000_000_001)),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
    );
    assert_eq!(
        created("priorityclasses", &class("system-mine", 1)),
        [
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class"
        ]
    );
    assert_eq!(created("priorityclasses", &class("system-node-critical", 2_000_001_000)), [""; 0]);
    assert_eq!(
        created("priorityclasses", &class("system-node-critical", 1)),
        [
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000"
        ]
    );
    assert_eq!(
        updated("priorityclasses", &class("a", 2), &class("a", 1)),
        ["value: Forbidden: may not be changed in an update."]
    );
}

#[test]
fn limits_and_quotas() {
    let range = |item: Value| json!({"spec": {"limits": [item]}});
    assert_eq!(created("limitranges", &range(json!({"type": "Container", "max": {"cpu": "1"}}))), [""; 0]);
    let wrong = json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}});
    assert_eq!(
        created("limitranges", &range(wrong)),
        ["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"]
    );
    let quota = |hard: Value| json!({"spec": {"hard": hard}});
    let known = json!({"pods": 3, "requests.cpu": "1", "count/jobs.batch": 2, "a.storageclass.storage.k8s.io/requests.storage": "1Gi"});
    assert_eq!(created("resourcequotas", &quota(known)), [""; 0]);
    let said = created("resourcequotas", &quota(json!({"apples": 1})));
    assert!(said[0].starts_with("spec.hard[apples]: Invalid value: \"apples\":"), "{said:?}");
    assert_eq!(
        created("resourcequotas", &quota(json!({"pods": "-1"}))),
        ["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"]
    );
}

#[test]
fn leases() {
    assert_eq!(
        created("leases", &json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}})),
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"
        ]
    );
}

#[test]
fn limits_name_what_they_bound() {
    let range = |item: Value| created("limitranges", &json!({"spec": {"limits": [item]}}));
    for (item, expect) in [
        (
            json!({"type": "PersistentVolumeClaim"}),
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ),
        (
            json!({"type": "Container", "maxLimitRequestRatio": {"storage": "1"}}),
            "spec.limits[0].maxLimitRequestRatio[storage]: Invalid value: \"storage\": must be a standard resource for containers",
        ),
        (
            json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}}),
            "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
        ),
        (
            json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}}),
            "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
        ),
        (
            json!({"type": "Container", "default": {"example.com/a": "2"}, "defaultRequest": {"example.com/a": "1"}}),
            "spec.limits[0].defaultRequest[example.com/a]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in example.com/a",
        ),
    ] {
        assert_eq!(range(item), [expect]);
    }
    let told = range(json!({"type": "-"}));
    assert!(
        told[0].starts_with("spec.limits[0].type: Invalid value: \"-\": name part must consist of"),
        "{told:?}"
    );
}

#[test]
fn a_preferred_holder_needs_a_strategy() {
    let lease = |spec: Value| created("leases", &json!({"spec": spec}));
    assert_eq!(lease(json!({"strategy": "OldestEmulationVersion", "preferredHolder": "a"})), [""; 0]);
    assert_eq!(
        lease(json!({"preferredHolder": "a"})),
        ["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"]
    );
    assert_eq!(
        lease(json!({"strategy": "X"})),
        ["spec.strategy.strategy: Unsupported value: \"X\": supported values: \"OldestEmulationVersion\""]
    );
}

#[test]
fn claims_say_what_they_are_filled_with() {
    let claim = |key: &str, source: Value| {
        created(
            "persistentvolumeclaims",
            &json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}, key: source}}),
        )
    };
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    assert_eq!(claim("dataSource", snapshot.clone()), [""; 0]);
    assert_eq!(
        claim("dataSource", json!({"kind": "X"}))[..2],
        [
            "spec.dataSource.name: Required value",
            "spec.dataSource: Invalid value: \"X\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ]
    );
    let told = claim("dataSourceRef", with(&snapshot, "/namespace", json!("A")));
    assert!(told[0].starts_with("spec.dataSourceRef.namespace: Invalid value: \"A\":"), "{told:?}");
    let told = claim("volumeAttributesClassName", json!("A"));
    assert!(told[0].starts_with("spec.volumeAttributesClassName: Invalid value: \"A\":"), "{told:?}");
    let both = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}, "dataSource": snapshot,
        "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "other"}}});
    assert_eq!(
        created("persistentvolumeclaims", &both),
        ["spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"]
    );
}

#[test]
fn statuses_of_budgets_and_claims() {
    let budget = |status: Value| {
        let object = json!({"metadata": {"name": "b"}, "spec": {}, "status": status});
        status_updated("poddisruptionbudgets", &object, &object)
    };
    let condition = json!({"type": "A", "status": "True", "reason": "Enough", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    assert_eq!(budget(json!({"conditions": [condition], "disruptionsAllowed": 1})), [""; 0]);
    let wrong = json!({"type": "A", "status": "X", "reason": "", "message": "m", "observedGeneration": -1});
    assert_eq!(
        budget(json!({"conditions": [condition, wrong], "disruptionsAllowed": -1})),
        [
            "status.conditions[1].type: Duplicate value: \"A\"",
            "status.conditions[1].status: Unsupported value: \"X\": supported values: \"False\", \"True\", \"Unknown\"",
            "status.conditions[1].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
            "status.conditions[1].lastTransitionTime: Required value: must be set",
            "status.conditions[1].reason: Required value: must be set",
            "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
        ]
    );
    let told = budget(json!({"conditions": [with(&condition, "/reason", json!("no words"))]}));
    assert!(
        told[0]
            .starts_with("status.conditions[0].reason: Invalid value: \"no words\": a condition reason must")
    );
    let claim = |status: Value| {
        let object = json!({"metadata": {"name": "c"}, "spec": {}, "status": status});
        status_updated("persistentvolumeclaims", &object, &object)
    };
    let sound = json!({"capacity": {"storage": "1Gi"}, "allocatedResources": {"storage": "1Gi"},
        "allocatedResourceStatuses": {"storage": "NodeResizePending"}});
    assert_eq!(claim(sound), [""; 0]);
    assert_eq!(
        claim(json!({"capacity": {"storage": "-1"}, "allocatedResources": {"cpu": "1"}})),
        [
            "status.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
            "status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\"",
        ]
    );
    let told = claim(json!({"allocatedResourceStatuses": {"storage": "X"}}));
    assert!(
        told[0]
            .starts_with("status.allocatedResourceStatus: Unsupported value: \"storage\": supported values:")
    );
}
