//! What creation and updates do to objects of each kind.

use api::Object;
use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn created(group: &str, kind: &str, value: Value) -> Value {
    let mut o = object(value);
    let strategy = strategy_for(group, kind);
    (strategy.default)(&mut o);
    (strategy.prepare_create)(&mut o);
    o.into_value()
}

fn updated(group: &str, kind: &str, new: Value, old: &Value) -> Value {
    let mut o = object(new);
    (strategy_for(group, kind).prepare_update)(&mut o, &object(old.clone()));
    o.into_value()
}

#[test]
fn nobody_is_born_with_a_status() {
    let pod = created("", "Pod", json!({"spec": {"containers": []}, "status": {"phase": "Running"}}));
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    let set = created("apps", "ReplicaSet", json!({"spec": {}, "status": {"replicas": 3}}));
    assert_eq!(set["status"], json!({"replicas": 0}));
    let claim = created("", "PersistentVolumeClaim", json!({"spec": {}}));
    assert_eq!(claim["status"], json!({"phase": "Pending"}));
    let namespace = created("", "Namespace", json!({"metadata": {"name": "n"}}));
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    let node = created("", "Node", json!({"status": {"capacity": {"cpu": "2"}}}));
    assert_eq!(node["status"]["allocatable"], json!({"cpu": "2"}));
    let gated = created("", "Pod", json!({"spec": {"containers": [], "schedulingGates": [{"name": "g"}]}}));
    assert_eq!(gated["status"]["conditions"][0]["reason"], "SchedulingGated");
}

#[test]
fn updates_keep_the_status_and_status_updates_the_spec() {
    let old = json!({"metadata": {"name": "a", "ownerReferences": [{"uid": "u"}]}, "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "qosClass": "Burstable", "observedGeneration": 3, "conditions": [{"type": "Ready", "observedGeneration": 2}]}});
    let new = updated("", "Pod", json!({"spec": {"x": 1}, "status": {"phase": "Failed"}}), &old);
    assert_eq!(new["status"], old["status"]);
    let mut status = object(json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "extra": 1,
        "status": {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}]}}));
    (strategy_for("", "Pod").prepare_status_update)(&mut status, &object(old.clone()));
    assert_eq!(
        status.into_value(),
        json!({"metadata": {"name": "a", "labels": {"l": "1"}, "ownerReferences": [{"uid": "u"}]},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Failed", "qosClass": "Burstable", "observedGeneration": 3,
            "conditions": [{"type": "Ready", "status": "False", "observedGeneration": 2}]}})
    );
}

#[test]
fn grace_is_for_pods_that_run() {
    let grace = strategy_for("", "Pod").grace_period_s.expect("pods have grace");
    let pod = |node: &str, phase: &str| {
        object(
            json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}}),
        )
    };
    assert_eq!(grace(&pod("n", "Running"), None), 30);
    assert_eq!(grace(&pod("n", "Running"), Some(5)), 5);
    assert_eq!(grace(&pod("n", "Running"), Some(-4)), 1);
    assert_eq!(grace(&pod("", "Pending"), Some(5)), 0);
    assert_eq!(grace(&pod("n", "Succeeded"), None), 0);
}

#[test]
fn classes_of_service() {
    let class = |resources: Value| {
        qos_class(&object(json!({"spec": {"containers": [{"name": "a", "resources": resources}]}})))
    };
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"example.com/gpu": "1"}})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "0"}})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    let limits = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(class(json!({"limits": limits})), "Guaranteed");
    assert_eq!(class(json!({"limits": limits, "requests": {"cpu": "1000m", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": limits, "requests": {"cpu": "1", "memory": "1Mi"}})), "Burstable");
}

#[test]
fn jobs_select_their_own_pods() {
    let job = created(
        "batch",
        "Job",
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {"containers": []}}}}),
    );
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    assert_eq!(job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]);
    assert!(strategy_for("batch", "Job").orphan_by_default);
}

#[test]
fn services_keep_what_was_allocated_and_give_back_what_is_of_no_use() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30000}], "externalTrafficPolicy": "Cluster"}});
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    let same = updated("", "Service", json!({"spec": {"type": "NodePort", "ports": ports}}), &old);
    assert_eq!(same["spec"]["clusterIPs"], json!(["10.0.0.1"]));
    assert_eq!(same["spec"]["ports"][0]["nodePort"], 30000);
    let mut changed = old.clone();
    changed["spec"]["type"] = "ClusterIP".into();
    let inner = updated("", "Service", changed, &old);
    assert_eq!(inner["spec"]["ports"], ports);
    assert_eq!(
        (inner["spec"].get("externalTrafficPolicy"), &inner["spec"]["clusterIP"]),
        (None, &json!("10.0.0.1"))
    );
}

#[test]
fn annotations_of_deployments_and_templates_of_daemon_sets_count() {
    let old = json!({"metadata": {"generation": 4}, "spec": {}});
    let new = json!({"metadata": {"generation": 4, "annotations": {"a": "b"}}, "spec": {}});
    assert_eq!(updated("apps", "Deployment", new, &old)["metadata"]["generation"], 5);
    let set = created("apps", "DaemonSet", json!({"metadata": {"name": "d"}, "spec": {}}));
    let key = "deprecated.daemonset.template.generation";
    assert_eq!(set["metadata"]["annotations"][key], "1");
    let mut changed = set.clone();
    changed["spec"]["template"] = json!({"spec": {}});
    assert_eq!(updated("apps", "DaemonSet", changed, &set)["metadata"]["annotations"][key], "2");
}
