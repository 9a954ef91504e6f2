//! What upstream's evaluators say of the same objects (`pkg/quota/v1/evaluator/core/*_test.go`).

use super::*;
use serde_json::json;

fn resource(name: &str) -> GroupResource {
    let (group, plural) = name.rsplit_once('/').unwrap_or(("", name));
    GroupResource::new(group, plural)
}

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn at(time: &str) -> jiff::Timestamp {
    time.parse().expect("a time")
}

fn used(of: &str, value: Value) -> String {
    words(&Measure::of(&resource(of), &object(value)).at(at("2026-01-01T00:00:00Z")))
}

#[test]
fn pods_use_what_they_ask_for_until_they_end() {
    let pod = |status: Value, metadata: Value| {
        json!({"metadata": metadata, "status": status, "spec": {
            "overhead": {"cpu": "10m"},
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "2", "memory": "1Mi"}}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "50Mi", "example.com/gpu": "1", "hugepages-2Mi": "4Mi"},
                "limits": {"cpu": "2", "ephemeral-storage": "1Gi"}}}]}})
    };
    let all = "count/pods=1,cpu=2010m,hugepages-2Mi=4Mi,limits.cpu=2010m,limits.ephemeral-storage=1Gi,memory=50Mi,pods=1,\
               requests.cpu=2010m,requests.example.com/gpu=1,requests.hugepages-2Mi=4Mi,requests.memory=50Mi";
    assert_eq!(used("pods", pod(json!({}), json!({}))), all);
    for phase in ["Failed", "Succeeded"] {
        assert_eq!(used("pods", pod(json!({"phase": phase}), json!({}))), "count/pods=1");
    }
    let leaving = |time: &str| json!({"deletionTimestamp": time, "deletionGracePeriodSeconds": 30});
    assert_eq!(used("pods", pod(json!({}), leaving("2025-12-31T23:59:40Z"))), all);
    assert_eq!(used("pods", pod(json!({}), leaving("2025-12-31T23:59:29Z"))), "count/pods=1");
}

#[test]
fn services_claims_and_all_others_use_their_own() {
    let service = |spec: Value| used("services", json!({"spec": spec}));
    let ports = json!([{"port": 1, "nodePort": 30001}, {"port": 2}]);
    assert_eq!(
        service(json!({"ports": ports})),
        "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0"
    );
    assert!(
        service(json!({"type": "NodePort", "ports": ports}))
            .ends_with("services.loadbalancers=0,services.nodeports=2")
    );
    assert!(
        service(json!({"type": "LoadBalancer", "ports": ports}))
            .ends_with("services.loadbalancers=1,services.nodeports=2")
    );
    let few = json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false});
    assert!(service(few).ends_with("services.loadbalancers=1,services.nodeports=1"));
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "10Gi"}}}});
    assert_eq!(
        used("persistentvolumeclaims", claim),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         gold.storageclass.storage.k8s.io/requests.storage=10Gi,persistentvolumeclaims=1,requests.storage=10Gi"
    );
    assert_eq!(used("configmaps", json!({})), "configmaps=1,count/configmaps=1");
    assert_eq!(used("apps/deployments", json!({})), "count/deployments.apps=1");
}

#[test]
fn a_name_counts_one_resources_objects() {
    let of = |name: &str| resource_of(name).map(|r| format!("{}/{}", r.group, r.resource));
    for name in [
        "pods",
        "cpu",
        "limits.memory",
        "requests.ephemeral-storage",
        "hugepages-1Gi",
        "requests.hugepages-1Gi",
        "requests.example.com/gpu",
    ] {
        assert_eq!(of(name).as_deref(), Some("/pods"), "{name}");
    }
    for name in
        ["persistentvolumeclaims", "requests.storage", "gold.storageclass.storage.k8s.io/requests.storage"]
    {
        assert_eq!(of(name).as_deref(), Some("/persistentvolumeclaims"), "{name}");
    }
    assert_eq!(of("services.nodeports").as_deref(), Some("/services"));
    assert_eq!(of("count/deployments.apps").as_deref(), Some("apps/deployments"));
    assert_eq!(of("count/widgets.example.com").as_deref(), Some("example.com/widgets"));
    assert_eq!(of("secrets").as_deref(), Some("/secrets"));
    assert_eq!(of("example.com/gpu"), None, "extended resources are bounded by their requests");
}

#[test]
fn containers_name_what_is_bounded() {
    let pod = |containers: Value, whole: Value| -> k8s_openapi::api::core::v1::Pod {
        serde_json::from_value(json!({"spec": {"containers": containers, "resources": whole}}))
            .expect("a pod")
    };
    let bounded = ["cpu", "limits.memory", "pods", "requests.storage"];
    let full = json!({"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}});
    assert_eq!(missing_in_pod(&pod(json!([full]), Value::Null), &bounded), None);
    let lacking = json!([full, {"name": "b", "resources": {"requests": {"cpu": "1"}}}, {"name": "c"}]);
    assert_eq!(
        missing_in_pod(&pod(lacking.clone(), Value::Null), &bounded).as_deref(),
        Some("must specify cpu for: c; limits.memory for: b,c")
    );
    let whole = json!({"requests": {"cpu": "3"}, "limits": {"memory": "3Gi"}});
    assert_eq!(missing_in_pod(&pod(lacking, whole), &bounded), None);
}

#[test]
fn scopes_pick_what_counts() {
    let quota = |spec: Value| Quota::of(&object(json!({"metadata": {"name": "q"}, "spec": spec})));
    let pod = |spec: Value| {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "c", "resources": spec["r"].take()}]);
        Measure::of(&resource("pods"), &object(json!({"spec": spec}))).traits
    };
    let counts =
        |scope: &str, spec: Value| quota(json!({"scopes": [scope]})).counts(&resource("pods"), &pod(spec));
    let asks = json!({"r": {"requests": {"cpu": "1"}}});
    assert!(counts("Terminating", json!({"activeDeadlineSeconds": 0})) && !counts("Terminating", json!({})));
    assert!(
        counts("NotTerminating", json!({})) && !counts("NotTerminating", json!({"activeDeadlineSeconds": 5}))
    );
    assert!(counts("BestEffort", json!({})) && !counts("BestEffort", asks.clone()));
    assert!(counts("NotBestEffort", asks) && !counts("NotBestEffort", json!({})));
    let term = |term: Value| json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}}});
    let other = term(json!({"topologyKey": "k", "namespaces": ["b"]}));
    assert!(
        counts("CrossNamespacePodAffinity", other)
            && !counts("CrossNamespacePodAffinity", term(json!({"topologyKey": "k"})))
    );
    let class = |operator: &str, values: &[&str], name: &str| {
        let expression = json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
        quota(json!({"scopeSelector": {"matchExpressions": [expression]}}))
            .counts(&resource("pods"), &pod(json!({"priorityClassName": name})))
    };
    assert!(class("In", &["high"], "high") && !class("In", &["high"], "low"));
    assert!(class("NotIn", &["high"], "low") && !class("NotIn", &["high"], "high"));
    assert!(class("Exists", &[], "x") && !class("Exists", &[], ""));
    assert!(class("DoesNotExist", &[], "") && !class("DoesNotExist", &[], "x"));
    let scoped = quota(json!({"scopes": ["NotTerminating"]}));
    assert!(!scoped.counts(&resource("services"), &Traits::default()), "scopes are about pods");
    assert!(quota(json!({})).counts(&resource("services"), &Traits::default()));
}

#[test]
fn only_more_is_an_increase() {
    let list = |cpu: &str, memory: &str| amounts(Some(&json!({"cpu": cpu, "memory": memory})));
    assert_eq!(words(&increase(&list("2", "1Gi"), &list("500m", "2Gi"))), "cpu=1500m");
    let mut sum = list("1", "1Gi");
    add(&mut sum, &list("1", "1Mi"));
    subtract(&mut sum, &list("500m", "0"));
    assert_eq!(words(&sum), "cpu=1500m,memory=1025Mi");
}

#[test]
fn a_ledger_sums_what_comes_changes_and_goes() {
    let quota = |hard: Value| {
        Quota::of(&object(json!({"metadata": {"name": "q", "uid": "q"}, "spec": {"hard": hard}})))
    };
    let pod = |name: &str, cpu: &str, phase: &str| {
        object(json!({"metadata": {"name": name, "uid": format!("u-{name}")}, "status": {"phase": phase},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
    };
    let both = quota(json!({"pods": "9", "requests.cpu": "9", "services": "1"}));
    let mut ledger = Ledger::new(resource("pods"));
    assert_eq!(words(&ledger.used(&both)), "pods=0,requests.cpu=0");
    ledger.put(&pod("a", "1", ""));
    ledger.put(&pod("b", "500m", ""));
    ledger.put(&pod("b", "700m", ""));
    assert_eq!(words(&ledger.used(&both)), "pods=2,requests.cpu=1700m");
    ledger.put(&pod("a", "1", "Succeeded"));
    assert_eq!(words(&ledger.used(&both)), "pods=1,requests.cpu=700m");
    assert_eq!(
        words(&ledger.used(&quota(json!({"count/pods": "9"})))),
        "count/pods=2",
        "the quota has changed"
    );
    ledger.remove("b");
    ledger.remove("b");
    assert_eq!(words(&ledger.used(&both)), "pods=0,requests.cpu=0");
    let mut going = pod("c", "1", "");
    going.set_at(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:30Z".into());
    going.set_at(&["metadata", "deletionGracePeriodSeconds"], 30.into());
    ledger.put(&going);
    assert_eq!(ledger.next_expiry(), Some(at("2026-01-01T00:01:00Z")));
    ledger.expire(at("2026-01-01T00:01:00Z"));
    assert_eq!(words(&ledger.used(&both)), "pods=1,requests.cpu=1");
    ledger.expire(at("2026-01-01T00:01:01Z"));
    assert_eq!((words(&ledger.used(&both)).as_str(), ledger.next_expiry()), ("pods=0,requests.cpu=0", None));
}

#[test]
fn device_claims_count_what_they_may_get_of_each_class() {
    let exactly = |class: &str, count: i64| json!({"name": class, "exactly": {"deviceClassName": class, "allocationMode": "ExactCount", "count": count}});
    let first = json!({"name": "f", "firstAvailable": [
        {"name": "a", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 4},
        {"name": "b", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}]});
    let all = json!({"name": "all", "exactly": {"deviceClassName": "nic", "allocationMode": "All"}});
    let claim: Object =
        serde_json::from_value(json!({"spec": {"devices": {"requests": [exactly("gpu", 2), first, all]}}}))
            .expect("an object");
    let measure = Measure::of(&GroupResource::new("resource.k8s.io", "resourceclaims"), &claim);
    let used: Vec<String> = measure.stored.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    assert_eq!(
        used,
        [
            "count/resourceclaims.resource.k8s.io=1",
            "gpu.deviceclass.resource.k8s.io/devices=6",
            "nic.deviceclass.resource.k8s.io/devices=32"
        ]
    );
    let of = resource_of("gpu.deviceclass.resource.k8s.io/devices").expect("a resource");
    assert_eq!(of, GroupResource::new("resource.k8s.io", "resourceclaims"));
}
