//! A server that extends the API against a real cluster: W147. It is nginx in a pod behind a Service, which serves a kind to
//! whom the cluster's front proxy forwards requests for, and nobody else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::manifests::pod;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w147_another_server_extends_the_api", extended),
    ("w147a_pods_are_scaled_by_what_another_system_says", scaled),
];

/// A Service `api`, and a pod behind it that answers these paths to the cluster's front proxy.
fn server(paths: &[(&str, Value)], proxies: &str, certificate: &str, key: &str) -> String {
    let only = "if ($ssl_client_verify != SUCCESS) { return 401; }";
    let locations =
        paths.iter().map(|(path, answer)| format!("location {path} {{ {only} return 200 '{answer}'; }} "));
    let site = format!(
        "server {{ listen 443 ssl; ssl_certificate /site/tls.crt; ssl_certificate_key /site/tls.key;
         ssl_client_certificate /site/proxies.crt; ssl_verify_client optional; default_type application/json;
         location /healthz {{ return 200 '{{}}'; }} {} }}",
        locations.collect::<String>()
    );
    let files = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api"},
        "stringData": {"tls.crt": certificate, "tls.key": key, "proxies.crt": proxies,
            "nginx.conf": format!("user root; pid /run/nginx.pid; events {{}} http {{ {site} }}")}
    });
    let mut api = pod("api", "");
    api["spec"]["volumes"] = json!([{"name": "site", "secret": {"secretName": "api"}}]);
    api["spec"]["containers"] = json!([{
        "name": "nginx", "image": "nginx:alpine", "command": ["nginx", "-c", "/site/nginx.conf", "-g", "daemon off;"],
        "readinessProbe": {"httpGet": {"port": 443, "path": "/healthz", "scheme": "HTTPS"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "site", "mountPath": "/site"}]
    }]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
        "spec": {"selector": {"app": "api"}, "ports": [{"port": 443}]}});
    format!("{files}\n{service}\n{api}")
}

/// What nginx answers of a group: one kind, and a list of it whose object is called after who asks.
fn flunders(group: &str) -> (Value, Value) {
    // Without `delete`: the deletion of other rows' namespaces is to leave it alone.
    let resources = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/v1"),
        "resources": [{"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
            "verbs": ["get", "list"], "shortNames": ["fl"]}]});
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": "Flunder",
        "metadata": {"name": "of-$http_x_remote_user", "namespace": "default"}});
    let list = json!({"apiVersion": format!("{group}/v1"), "kind": "FlunderList", "metadata": {}, "items": [object]});
    (resources, list)
}

/// The registration of a version that the Service `api` serves.
fn registration(namespace: &str, (group, version): (&str, &str), bundle: &str) -> Value {
    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}")},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 20,
            "service": {"namespace": namespace, "name": "api"}, "caBundle": BASE64_STANDARD.encode(bundle)}})
}

/// The CA of the cluster's front proxy.
fn proxies(scene: &Scene) -> String {
    let map = "configmap extension-apiserver-authentication -n kube-system";
    scene.shell.ok(&format!("kubectl get {map} -o jsonpath='{{.data.requestheader-client-ca-file}}'"))
}

fn extended(scene: &Scene) {
    const GROUP: &str = "w147.example.com";
    const NAME: &str = "v1.w147.example.com";
    let (sh, namespace) = (&scene.shell, scene.namespace.as_str());
    let local = sh.ok("kubectl get apiservice v1.apps --show-labels");
    let row: Vec<&str> = local.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..3], ["v1.apps", "Local", "True"], "{local}");
    assert!(local.contains("kube-aggregator.kubernetes.io/automanaged=onstart"), "{local}");

    // Nobody serves it yet.
    let issued = rcgen::generate_simple_self_signed([format!("api.{namespace}.svc")]).expect("a certificate");
    let bundle = issued.cert.pem();
    sh.apply(&registration(namespace, (GROUP, "v1"), &bundle).to_string());
    let reason = "jsonpath={.status.conditions[0].reason}";
    sh.ok(&format!("kubectl wait --for='{reason}'=ServiceNotFound apiservice/{NAME} --timeout=30s"));
    let refused = sh.fails(&format!("kubectl get --raw /apis/{GROUP}/v1/flunders"));
    assert!(refused.contains("the server is currently unable to handle the request"), "{refused}");

    // Now a pod does, for the cluster's front proxy.
    let (resources, list) = flunders(GROUP);
    let (all, each) = (format!("= /apis/{GROUP}/v1"), format!("/apis/{GROUP}/v1/"));
    let paths = [(all.as_str(), resources), (each.as_str(), list)];
    sh.apply(&server(&paths, &proxies(scene), &bundle, &issued.signing_key.serialize_pem()));
    sh.ok(&format!("kubectl wait --for=condition=Available apiservice/{NAME} --timeout=60s"));
    let table = sh.ok(&format!("kubectl get apiservices {NAME}"));
    let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..3], [NAME, format!("{namespace}/api").as_str(), "True"], "{table}");
    let mut kinds = sh.start(
        "bash -c 'while true; do kubectl api-resources --api-group=w147.example.com --no-headers; sleep 0.2; done'",
    );
    kinds.wait_until("the kind", |line| {
        let row: Vec<&str> = line.split_whitespace().collect();
        row == ["flunders", "fl", "w147.example.com/v1", "true", "Flunder"]
    });
    let found = sh.ok("kubectl get fl");
    assert!(found.contains("of-kubernetes-admin"), "{found}");
    assert!(sh.ok(&format!("kubectl get --raw /apis/{GROUP}")).contains("\"preferredVersion\""));

    // It goes, and later what says that it serves.
    sh.ok("kubectl delete pod api --timeout=30s");
    sh.ok(&format!("kubectl wait --for=condition=Available=False apiservice/{NAME} --timeout=30s"));
    let table = sh.ok(&format!("kubectl get apiservices {NAME}"));
    assert!(
        table.contains("False (MissingEndpoints)") || table.contains("False (EndpointsNotFound)"),
        "{table}"
    );
    sh.ok(&format!("kubectl delete apiservice {NAME}"));
    let unknown = sh.fails("kubectl get flunders");
    assert!(unknown.contains("the server doesn't have a resource type \"flunders\""), "{unknown}");

    // Versions of custom kinds are listed while they are served.
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.w147c.example.com"},
        "spec": {"group": "w147c.example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    sh.apply(&definition.to_string());
    sh.ok("kubectl wait --for=create apiservice/v1.w147c.example.com --timeout=30s");
    sh.ok("kubectl wait --for=condition=Available apiservice/v1.w147c.example.com --timeout=30s");
    sh.ok("kubectl delete customresourcedefinition things.w147c.example.com");
    sh.ok("kubectl wait --for=delete apiservice/v1.w147c.example.com --timeout=30s");
}

/// Of the three kinds of metrics that other servers say, the one that asks nothing of the cluster.
fn scaled(scene: &Scene) {
    const GROUP: &str = "external.metrics.k8s.io";
    let (sh, namespace) = (&scene.shell, scene.namespace.as_str());
    let issued = rcgen::generate_simple_self_signed([format!("api.{namespace}.svc")]).expect("a certificate");
    let resources = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/v1beta1"),
        "resources": [{"name": "queue", "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList",
            "verbs": ["get"]}]});
    let value =
        json!({"metricName": "queue", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": "3"});
    let list = json!({"kind": "ExternalMetricValueList", "apiVersion": format!("{GROUP}/v1beta1"), "metadata": {},
        "items": [value]});
    let (all, each) =
        (format!("= /apis/{GROUP}/v1beta1"), format!("= /apis/{GROUP}/v1beta1/namespaces/{namespace}/queue"));
    let paths = [(all.as_str(), resources), (each.as_str(), list)];
    let bundle = issued.cert.pem();
    sh.apply(&server(&paths, &proxies(scene), &bundle, &issued.signing_key.serialize_pem()));
    sh.apply(&registration(namespace, (GROUP, "v1beta1"), &bundle).to_string());
    sh.ok(&format!("kubectl wait --for=condition=Available apiservice/v1beta1.{GROUP} --timeout=60s"));
    sh.ok("kubectl create deployment web --image=nginx:alpine");
    sh.ok("kubectl wait --for=condition=Available deployment/web --timeout=60s");
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1"}}}]}});
    sh.apply(&autoscaler.to_string());
    sh.ok("kubectl wait --for='jsonpath={.spec.replicas}'=3 deployment/web --timeout=40s");
    let told = sh.ok("kubectl describe hpa web");
    assert!(
        told.contains(
            "the HPA was able to successfully calculate a replica count from external metric queue(nil)"
        ),
        "{told}"
    );
    sh.ok(&format!("kubectl delete apiservice v1beta1.{GROUP}"));
}
