//! What objects say after defaulting, and that doing it twice changes nothing.

use api::Object;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::arbitrary::{self, Entropy};
use crate::builtin;

fn defaulted(plural: &str, value: Value) -> Object {
    let row = builtin().rows().find(|r| r.plural == plural).expect("a built-in kind");
    let mut object = Object::from_value(value).expect("an object");
    object.set_type(&row.gvk());
    row.logic.default(&mut object);
    object
}

#[test]
fn a_nodes_single_range_and_list_agree() {
    let spec = |given: Value| defaulted("nodes", json!({"spec": given})).0["spec"].clone();
    let one = json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]});
    assert_eq!(spec(json!({"podCIDR": "10.0.0.0/24"})), one);
    assert_eq!(spec(json!({"podCIDRs": ["10.0.0.0/24"]})), one);
    assert_eq!(spec(json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.1.0.0/24"]})), one);
    assert_eq!(spec(json!({"unschedulable": true})), json!({"unschedulable": true}));
}

#[test]
fn a_bare_pod_says_everything() {
    let pod = defaulted(
        "pods",
        json!({"spec": {
            "serviceAccount": "old",
            "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}],
            "containers": [{
                "name": "a", "image": "nginx",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1500u", "memory": "1Gi"}, "requests": {"memory": "1Mi"}},
                "livenessProbe": {"httpGet": {"port": 80}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            }],
        }}),
    );
    assert_eq!(
        pod.0["spec"],
        json!({
            "serviceAccount": "old", "serviceAccountName": "old",
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
            "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
            "enableServiceLinks": true,
            "volumes": [
                {"name": "v", "emptyDir": {}},
                {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
            ],
            "containers": [{
                "name": "a", "image": "nginx", "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {
                    "limits": {"cpu": "2m", "memory": "1Gi"},
                    "requests": {"cpu": "2m", "memory": "1Mi"},
                },
                "livenessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                },
                "env": [{
                    "name": "IP",
                    "valueFrom": {"fieldRef": {"fieldPath": "status.podIP", "apiVersion": "v1"}},
                }],
            }],
        })
    );
}

#[test]
fn the_tag_decides_whether_to_pull() {
    let (digest, shorter) = ("0a".repeat(32), "0a".repeat(31));
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.29", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        (&format!("nginx@sha256:{digest}"), "IfNotPresent"),
        (&format!("nginx:1@sha256:{digest}"), "IfNotPresent"),
        (&format!("nginx:latest@sha256:{digest}"), "Always"),
        // No names.
        (&format!("nginx:latest@sha256:{shorter}"), "IfNotPresent"),
        ("Nginx", "IfNotPresent"),
        ("nginx:", "IfNotPresent"),
        ("", "IfNotPresent"),
    ] {
        let pod = defaulted("pods", json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
        assert_eq!(pod.0["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn only_pods_take_host_ports_and_requests() {
    let container = json!({
        "name": "a", "image": "b:1", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}},
    });
    let spec = json!({"hostNetwork": true, "containers": [container]});
    let pod = defaulted("pods", json!({"spec": spec}));
    assert_eq!(pod.0["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
    assert_eq!(pod.0["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
    let set = defaulted("replicasets", json!({"spec": {"template": {"spec": spec}}}));
    let container = &set.0["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0], json!({"containerPort": 80, "protocol": "TCP"}));
    assert_eq!(container["resources"], json!({"limits": {"cpu": "1"}}));
    assert_eq!(set.0["spec"]["template"]["spec"].get("enableServiceLinks"), None);
}

#[test]
fn a_pods_own_requests_come_from_its_containers() {
    let pod = defaulted(
        "pods",
        json!({"spec": {
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "init", "resources": {"requests": {"cpu": "900m"}}},
            ],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "500m"}}}],
        }}),
    );
    assert_eq!(pod.0["spec"]["resources"]["requests"], json!({"cpu": "1", "memory": "1Gi"}));
}

#[test]
fn controllers_take_labels_and_strategies() {
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}});
    let rc = defaulted("replicationcontrollers", json!({"spec": {"template": template}}));
    assert_eq!(rc.0["metadata"]["labels"], json!({"app": "x"}));
    assert_eq!(rc.0["spec"]["selector"], json!({"app": "x"}));
    assert_eq!(rc.0["spec"]["replicas"], 1);
    assert_eq!(rc.0["spec"]["template"]["spec"]["restartPolicy"], "Always");
    let deployment = defaulted("deployments", json!({"spec": {"template": template}}));
    let rolling = json!({"maxUnavailable": "25%", "maxSurge": "25%"});
    assert_eq!(deployment.0["spec"]["strategy"], json!({"type": "RollingUpdate", "rollingUpdate": rolling}));
    assert_eq!(deployment.0["spec"]["progressDeadlineSeconds"], 600);
    let recreate = defaulted("deployments", json!({"spec": {"strategy": {"type": "Recreate"}}}));
    assert_eq!(recreate.0["spec"]["strategy"], json!({"type": "Recreate"}));
    let job = defaulted("jobs", json!({"spec": {"parallelism": 2}}));
    assert_eq!(job.0["spec"].get("completions"), None);
    assert_eq!(job.0["spec"]["backoffLimit"], 6);
}

#[test]
fn secrets_swallow_plain_texts() {
    let secret =
        defaulted("secrets", json!({"data": {"a": "eA==", "b": "eA=="}, "stringData": {"b": "hello"}}));
    assert_eq!(secret.0["data"], json!({"a": "eA==", "b": "aGVsbG8="}));
    assert_eq!((secret.0.get("stringData"), &secret.0["type"]), (None, &json!("Opaque")));
}

#[test]
fn services_and_policies_are_filled_in() {
    let service = defaulted("services", json!({"spec": {"ports": [{"port": 80}]}}));
    assert_eq!(
        service.0["spec"],
        json!({
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
        })
    );
    let policy = defaulted("networkpolicies", json!({"spec": {"egress": [{"ports": [{"port": 1}]}]}}));
    assert_eq!(policy.0["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy.0["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    let binding = defaulted(
        "rolebindings",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
    );
    assert_eq!(binding.0["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(binding.0["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(binding.0["subjects"][1].get("apiGroup"), None);
    let namespace = defaulted("namespaces", json!({"metadata": {"name": "n"}}));
    assert_eq!(namespace.0["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "n"}));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn defaulting_twice_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        for row in builtin().rows() {
            let mut once = arbitrary::object(row, &mut Entropy::new(&bytes));
            row.logic.default(&mut once);
            let mut twice = once.clone();
            row.logic.default(&mut twice);
            prop_assert_eq!(once, twice, "{}", row.kind);
        }
    }
}
