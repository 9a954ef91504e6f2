//! Environments end to end: precedence, references, services and their error texts.

use super::*;
use serde_json::{Value, json};

fn make(container: Value, fetched: &Fetched, services: &[Value]) -> Result<Environment, EnvironmentError> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u1", "labels": {"app": "a\"b"}},
        "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [container.clone()]},
    }))
    .expect("a pod");
    let container: Container = serde_json::from_value(container).expect("a container");
    let services: Vec<Arc<Service>> =
        services.iter().map(|s| Arc::new(serde_json::from_value(s.clone()).expect("a service"))).collect();
    build(&Inputs {
        pod: &pod,
        container: &container,
        fetched,
        services: &services,
        addresses: &PodAddresses { pod_ips: vec!["10.1.0.2".into()], host_ips: vec!["192.168.0.1".into()] },
        allocatable: &[(
            "cpu".to_owned(),
            k8s_openapi::apimachinery::pkg::api::resource::Quantity("2".into()),
        )]
        .into(),
    })
}

fn file(path: &str) -> FileName {
    ("v".to_owned(), path.to_owned())
}

fn fetched() -> Fetched {
    let map: ConfigMap = serde_json::from_value(json!({"data": {"A": "1", "b.c": "2"}})).expect("a map");
    let secret: Secret = serde_json::from_value(json!({"data": {"S": "c2VjcmV0"}})).expect("a secret");
    Fetched {
        config_maps: [("m".to_owned(), Arc::new(map))].into(),
        secrets: [("s".to_owned(), Arc::new(secret))].into(),
        files: [
            (file("env"), EnvFile { shown: "/v/env".to_owned(), text: Ok("F='of a file'\n".to_owned()) }),
            (file("lost"), EnvFile { shown: "/v/lost".to_owned(), text: Err("no such file".to_owned()) }),
            (file("odd"), EnvFile { shown: "/v/odd".to_owned(), text: Ok("F=1".to_owned()) }),
        ]
        .into(),
    }
}

fn pairs(env: &Environment) -> Vec<String> {
    env.iter().map(|(k, v)| format!("{k}={v}")).collect()
}

#[test]
fn env_overrides_env_from_and_sees_what_stands_before() {
    let container = json!({"name": "c",
        "envFrom": [{"configMapRef": {"name": "m"}}, {"prefix": "P_", "secretRef": {"name": "s"}}],
        "env": [{"name": "X", "value": "$(A)-$(LATER)-$(P_S)"}, {"name": "A", "value": "$(A)!"},
            {"name": "LATER", "value": "l"}, {"name": "EMPTY"}]});
    let env = make(container, &fetched(), &[]).expect("an environment");
    assert_eq!(pairs(&env), ["A=1!", "b.c=2", "P_S=secret", "X=1-$(LATER)-secret", "LATER=l", "EMPTY="]);
}

#[test]
fn sources_resolve() {
    let container = json!({"name": "c", "resources": {"limits": {"memory": "10Mi"}, "requests": {"cpu": "250m"}},
        "env": [
            {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "b.c"}}},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "S"}}},
            {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "none", "key": "S", "optional": true}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "LABELS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "REQ", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
            {"name": "REQM", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
            {"name": "LIM", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]});
    let env = make(container, &fetched(), &[]).expect("an environment");
    assert_eq!(
        pairs(&env),
        [
            "K=2",
            "S=secret",
            "LABEL=a\"b",
            "LABELS=app=\"a\\\"b\"",
            "IP=10.1.0.2",
            "NODE=n1",
            "MEM=10",
            "REQ=1",
            "REQM=250",
            "LIM=2"
        ]
    );
}

#[test]
fn missing_things_are_named_as_upstream_names_them() {
    let check = |source: Value, expect: &str| {
        let container = json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]});
        assert_eq!(make(container, &fetched(), &[]).expect_err("an error").to_string(), expect);
    };
    check(json!({"configMapKeyRef": {"name": "no", "key": "k"}}), "configmap \"no\" not found");
    check(json!({"configMapKeyRef": {"name": "m", "key": "k"}}), "couldn't find key k in ConfigMap ns/m");
    check(json!({"secretKeyRef": {"name": "no", "key": "k"}}), "secret \"no\" not found");
    check(json!({"secretKeyRef": {"name": "s", "key": "k"}}), "couldn't find key k in Secret ns/s");
    check(json!({"fieldRef": {"fieldPath": "spec.nope"}}), "field label not supported: spec.nope");
}

#[test]
fn files_give_values_and_only_their_keys_are_optional() {
    let make_of = |volume: &str, path: &str, key: &str, optional: bool| {
        let source = json!({"volumeName": volume, "path": path, "key": key, "optional": optional});
        let variables =
            json!([{"name": "X", "valueFrom": {"fileKeyRef": source}}, {"name": "Y", "value": "[$(X)]"}]);
        let env = make(json!({"name": "c", "env": variables}), &fetched(), &[]);
        env.map(|env| pairs(&env)).map_err(|error| error.to_string())
    };
    assert_eq!(make_of("v", "env", "F", false).expect("set"), ["X=of a file", "Y=[of a file]"]);
    assert_eq!(make_of("v", "env", "G", true).expect("left out"), ["Y=[$(X)]"]);
    let missing = "environment variable key \"G\" not found in file \"/v/env\"";
    assert_eq!(make_of("v", "env", "G", false).expect_err("no key"), missing);
    for path in ["lost", "odd"] {
        assert_eq!(make_of("v", path, "F", true).expect_err("of no use"), "couldn't parse env file");
    }
    let missing = "cannot find the volume \"w\" referenced by FileKeyRef";
    assert_eq!(make_of("w", "env", "F", true).expect_err("no volume"), missing);
}

#[test]
fn services_of_the_namespace_and_the_api_are_announced() {
    let service = |ns: &str, name: &str, ip: &str| {
        json!({"metadata": {"name": name, "namespace": ns},
            "spec": {"clusterIP": ip, "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}})
    };
    let all = [
        service("default", "kubernetes", "10.96.0.1"),
        service("ns", "my-db", "10.96.0.2"),
        service("ns", "headless", "None"),
        service("other", "hidden", "10.96.0.3"),
    ];
    let env = make(json!({"name": "c", "env": [{"name": "U", "value": "$(MY_DB_PORT)"}]}), &fetched(), &all)
        .expect("an environment");
    assert_eq!(env.get("U"), Some("tcp://10.96.0.2:443"));
    assert_eq!(env.get("KUBERNETES_SERVICE_HOST"), Some("10.96.0.1"));
    assert_eq!(env.get("KUBERNETES_SERVICE_PORT_HTTPS"), Some("443"));
    assert_eq!(env.get("MY_DB_PORT_443_TCP_ADDR"), Some("10.96.0.2"));
    assert!(env.iter().all(|(k, _)| !k.starts_with("HEADLESS") && !k.starts_with("HIDDEN")));
}
