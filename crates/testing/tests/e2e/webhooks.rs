//! Admission webhooks and policies against a real cluster: W145. The webhook is nginx in a pod behind a Service: it gives
//! the same answer to whoever asks for a path, in the older form of reviews, which names no request.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::manifests::pod;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w145_a_webhook_behind_a_service_judges_requests", judged),
    ("w145a_a_policy_judges_requests_by_its_parameters", by_policy),
    ("w145b_a_policy_changes_requests", changed_by_policy),
];

/// A Service `hooks`, and a pod behind it that refuses at `/deny` and adds to the data at `/add`.
fn server(certificate: &str, key: &str) -> String {
    let patch =
        BASE64_STANDARD.encode(json!([{"op": "add", "path": "/data/added", "value": "yes"}]).to_string());
    let deny = json!({"response": {"allowed": false, "status": {"message": "not here"}}});
    let add = json!({"response": {"allowed": true, "patch": patch, "patchType": "JSONPatch"}});
    let site = format!(
        "server {{ listen 443 ssl; ssl_certificate /site/tls.crt; ssl_certificate_key /site/tls.key;
         default_type application/json; location /deny {{ return 200 '{deny}'; }} location /add {{ return 200 '{add}'; }} }}"
    );
    let files = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks"},
        "stringData": {"tls.crt": certificate, "tls.key": key,
            "nginx.conf": format!("user root; pid /run/nginx.pid; events {{}} http {{ {site} }}")}
    });
    let mut hooks = pod("hooks", "");
    hooks["spec"]["volumes"] = json!([{"name": "site", "secret": {"secretName": "hooks"}}]);
    hooks["spec"]["containers"] = json!([{
        "name": "nginx", "image": "nginx:alpine", "command": ["nginx", "-c", "/site/nginx.conf", "-g", "daemon off;"],
        "readinessProbe": {"httpGet": {"port": 443, "path": "/add", "scheme": "HTTPS"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "site", "mountPath": "/site"}]
    }]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hooks"},
        "spec": {"selector": {"app": "hooks"}, "ports": [{"port": 443}]}});
    format!("{files}\n{service}\n{hooks}")
}

/// A webhook of the row's namespace alone, at a path.
fn webhook(namespace: &str, bundle: &str, path: &str, more: &Value) -> Value {
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    let mut webhook = json!({
        "name": format!("{}.w145.example.com", path.trim_matches('/')), "sideEffects": "None",
        "admissionReviewVersions": ["v1beta1"], "rules": [rule],
        "clientConfig": {"service": {"namespace": namespace, "name": "hooks", "path": path}, "caBundle": bundle},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    for (key, value) in more.as_object().into_iter().flatten() {
        webhook[key] = value.clone();
    }
    webhook
}

fn configuration(kind: &str, webhook: &Value) -> String {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "w145"},
        "webhooks": [webhook]})
    .to_string()
}

fn judged(scene: &Scene) {
    let (sh, namespace) = (&scene.shell, scene.namespace.as_str());
    let issued =
        rcgen::generate_simple_self_signed([format!("hooks.{namespace}.svc")]).expect("a certificate");
    sh.apply(&server(&issued.cert.pem(), &issued.signing_key.serialize_pem()));
    sh.ok("kubectl wait --for=condition=Ready pod/hooks --timeout=60s");
    let slices = "endpointslices -l kubernetes.io/service-name=hooks";
    sh.ok(&format!(
        "kubectl wait --for=jsonpath='{{.endpoints[0].conditions.ready}}'=true {slices} --timeout=30s"
    ));
    let bundle = BASE64_STANDARD.encode(issued.cert.pem());

    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},
        {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/attach"]}]);
    let condition = json!([{"name": "refused", "expression":
        "request.operation == 'CONNECT' || object.metadata.name == 'refused'"}]);
    let deny = webhook(namespace, &bundle, "/deny", &json!({"rules": rules, "matchConditions": condition}));
    sh.apply(&configuration("ValidatingWebhookConfiguration", &deny));
    sh.apply(&configuration(
        "MutatingWebhookConfiguration",
        &webhook(namespace, &bundle, "/add", &Value::Null),
    ));
    let refused = sh.fails("kubectl create configmap refused --from-literal=a=b");
    let words = "admission webhook \"deny.w145.example.com\" denied the request: not here";
    assert!(refused.contains(words), "{refused}");
    let refused = sh.fails("kubectl attach pod/hooks");
    assert!(refused.contains(words), "{refused}");
    sh.ok("kubectl create configmap good --from-literal=a=b");
    assert_eq!(sh.ok("kubectl get configmap good -o jsonpath={.data.added}"), "yes");
    let table = sh.ok("kubectl get validatingwebhookconfigurations w145");
    let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..2], ["w145", "1"], "{table}");

    // Nobody answers any more: closed unless it is to be open.
    sh.ok("kubectl delete validatingwebhookconfiguration w145");
    sh.ok("kubectl delete pod hooks --timeout=30s");
    let mut gone = sh
        .start(&format!("kubectl get {slices} -w -o jsonpath='[{{.endpoints[*].addresses[*]}}]{{\"\\n\"}}'"));
    gone.wait_until("no endpoint", |line| line.trim() == "[]");
    let failed = sh.fails("kubectl create configmap later --from-literal=a=b");
    let words = format!(
        "failed calling webhook \"add.w145.example.com\": failed to call webhook: Post \"https://hooks.{namespace}.svc:443/add?timeout=10s\": no endpoints available for service \"hooks\""
    );
    assert!(failed.contains(&words), "{failed}");
    let open = "[{\"op\":\"replace\",\"path\":\"/webhooks/0/failurePolicy\",\"value\":\"Ignore\"}]";
    sh.ok(&format!("kubectl patch mutatingwebhookconfiguration w145 --type=json -p '{open}'"));
    sh.ok("kubectl create configmap later --from-literal=a=b");
    sh.ok("kubectl delete mutatingwebhookconfiguration w145");
}

fn by_policy(scene: &Scene) {
    let (sh, namespace) = (&scene.shell, scene.namespace.as_str());
    let rule = json!({"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "w145a"}, "spec": {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "matchConstraints": {"resourceRules": [rule]},
            "variables": [{"name": "most", "expression": "int(params.data.most)"}],
            "validations": [{"expression": "object.spec.replicas <= variables.most",
                "messageExpression": "'at most ' + string(variables.most) + ' replicas'"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "w145a"}, "spec": {"policyName": "w145a", "validationActions": ["Deny"],
            "paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"},
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}});
    sh.ok("kubectl create configmap limits --from-literal=most=2");
    sh.apply(&format!("{policy}\n{binding}"));
    sh.ok("kubectl wait --for=jsonpath='{.status.observedGeneration}'=1 validatingadmissionpolicy/w145a --timeout=10s");
    assert_eq!(sh.ok("kubectl get validatingadmissionpolicy w145a -o jsonpath={.status.typeChecking}"), "{}");
    sh.ok("kubectl create deployment few --image=busybox:1.36 --replicas=0");
    let refused = sh.fails("kubectl create deployment many --image=busybox:1.36 --replicas=3");
    let words = "ValidatingAdmissionPolicy 'w145a' with binding 'w145a' denied request: at most 2 replicas";
    assert!(refused.contains(words), "{refused}");
    let refused = sh.fails("kubectl patch deployment few --type=merge -p '{\"spec\":{\"replicas\":3}}'");
    assert!(refused.contains(words), "{refused}");
    sh.ok("kubectl delete validatingadmissionpolicybinding w145a");
    sh.ok("kubectl delete validatingadmissionpolicy w145a");
    sh.ok("kubectl create deployment many --image=busybox:1.36 --replicas=0");
}

fn changed_by_policy(scene: &Scene) {
    let (sh, namespace) = (&scene.shell, scene.namespace.as_str());
    let rule = json!({"operations": ["CREATE"], "apiGroups": ["", "apps"], "apiVersions": ["v1"], "resources": ["pods", "deployments"]});
    let sidecar = "object.kind == 'Pod' && !object.spec.?initContainers.orValue([]).exists(c, c.name == 'side') ? \
        Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'side', image: params.data.image, \
            restartPolicy: 'Always', command: ['sleep', '3600']}]}} : Object{}";
    let patch = "[JSONPatch{op: 'add', path: '/metadata/labels', value: object.metadata.?labels.orValue({})}, \
        JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/by'), value: 'w145b'}]";
    // What a container is started with is a list that is replaced as a whole: a configuration may not set it.
    let refused = sidecar.to_owned();
    let accepted = sidecar.replace(", command: ['sleep', '3600']", "");
    let policy = |sidecar: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": "w145b"}, "spec": {"reinvocationPolicy": "IfNeeded",
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "matchConstraints": {"resourceRules": [rule]},
                "mutations": [
                    {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": sidecar}},
                    {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}]}})
    };
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "w145b"}, "spec": {"policyName": "w145b",
            "paramRef": {"name": "sidecar", "parameterNotFoundAction": "Deny"},
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}});
    sh.ok("kubectl create configmap sidecar --from-literal=image=nginx:alpine");
    sh.file("policy.json", &format!("{}\n{binding}", policy(&refused)));
    let said = sh.ok("kubectl apply -f policy.json 2>&1");
    assert!(!said.contains("Warning"), "{said}");
    let refused = sh.fails("kubectl run changed --image=busybox:1.36 -- sleep 3600");
    let words = "policy 'w145b' with binding 'w145b' denied request: error applying patch: invalid ApplyConfiguration: may \
        not mutate atomic arrays, maps or structs: .spec.initContainers[0].command";
    assert!(refused.contains(words), "{refused}");
    sh.apply(&policy(&accepted).to_string());
    sh.ok("kubectl run changed --image=busybox:1.36 -- sleep 3600");
    sh.ok("kubectl wait --for=condition=Ready pod/changed --timeout=60s");
    let shown = "-o jsonpath='{.spec.initContainers[*].name} {.metadata.labels}'";
    let said = sh.ok(&format!("kubectl get pod changed {shown}"));
    assert_eq!(said, r#"side {"example.com/by":"w145b","run":"changed"}"#);
    sh.ok("kubectl delete mutatingadmissionpolicybinding w145b");
    sh.ok("kubectl delete mutatingadmissionpolicy w145b");
    sh.ok("kubectl delete pod changed --now");
    sh.ok("kubectl run changed --image=busybox:1.36 -- sleep 3600");
    assert_eq!(sh.ok(&format!("kubectl get pod changed {shown}")), r#" {"run":"changed"}"#);
}
