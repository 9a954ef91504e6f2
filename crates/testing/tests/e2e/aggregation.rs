//! A server that extends the API against a real cluster: W147. It is nginx in a pod behind a Service, which serves a kind to
//! whom the cluster's front proxy forwards requests for, and nobody else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::manifests::pod;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w147_another_server_extends_the_api", extended)];

/// A Service `api`, and a pod behind it that serves `flunders` of the group; objects are called after who asks.
fn server(group: &str, proxies: &str, certificate: &str, key: &str) -> String {
    // Without `delete`: the deletion of other rows' namespaces is to leave it alone.
    let resources = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/v1"),
        "resources": [{"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
            "verbs": ["get", "list"], "shortNames": ["fl"]}]});
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": "Flunder",
        "metadata": {"name": "of-$http_x_remote_user", "namespace": "default"}});
    let list = json!({"apiVersion": format!("{group}/v1"), "kind": "FlunderList", "metadata": {}, "items": [object]});
    let site = format!(
        "server {{ listen 443 ssl; ssl_certificate /site/tls.crt; ssl_certificate_key /site/tls.key;
         ssl_client_certificate /site/proxies.crt; ssl_verify_client optional; default_type application/json;
         location /healthz {{ return 200 '{{}}'; }}
         location = /apis/{group}/v1 {{ if ($ssl_client_verify != SUCCESS) {{ return 401; }} return 200 '{resources}'; }}
         location /apis/{group}/v1/ {{ if ($ssl_client_verify != SUCCESS) {{ return 401; }} return 200 '{list}'; }} }}"
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
    let registration = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": NAME},
        "spec": {"group": GROUP, "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 20,
            "service": {"namespace": namespace, "name": "api"}, "caBundle": BASE64_STANDARD.encode(issued.cert.pem())}});
    sh.apply(&registration.to_string());
    let reason = "jsonpath={.status.conditions[0].reason}";
    sh.ok(&format!("kubectl wait --for='{reason}'=ServiceNotFound apiservice/{NAME} --timeout=30s"));
    let refused = sh.fails(&format!("kubectl get --raw /apis/{GROUP}/v1/flunders"));
    assert!(refused.contains("the server is currently unable to handle the request"), "{refused}");

    // Now a pod does, for the cluster's front proxy.
    let authentication = "configmap extension-apiserver-authentication -n kube-system";
    let proxies =
        sh.ok(&format!("kubectl get {authentication} -o jsonpath='{{.data.requestheader-client-ca-file}}'"));
    sh.apply(&server(GROUP, &proxies, &issued.cert.pem(), &issued.signing_key.serialize_pem()));
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
