//! Protections and what is not there yet: rows A006-A009, A011 and A023.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("a006_protections_are_enforced", a006),
    ("a008_a_pod_may_come_with_its_namespace", a008),
    ("a009_approved_requests_are_signed", a009),
    ("a011_requests_are_classed_by_flow_schemas", a011),
    ("a023_nobody_is_made_a_master", a023),
];

fn a006(scene: &Scene) {
    let sh = &scene.shell;
    pod_security(sh);
    quota(sh);
    limit_range(sh);
    runtime_class(sh);
}

/// In a namespace of its own, so that no other protection interferes.
fn namespace(sh: &Shell, name: &str) {
    sh.ok(&format!("kubectl create namespace {name}"));
}

fn pod_security(sh: &Shell) {
    namespace(sh, "a006-pss");
    sh.ok("kubectl label ns a006-pss pod-security.kubernetes.io/enforce=restricted");
    let mut privileged = pod("p", STAY);
    privileged["metadata"]["namespace"] = "a006-pss".into();
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    sh.file("privileged.json", &privileged.to_string());
    let refused = sh.fails("kubectl apply -f privileged.json");
    assert!(
        refused.contains(
            r#"pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged (container "main" must not set securityContext.privileged=true), allowPrivilegeEscalation != false"#
        ),
        "{refused}"
    );
    let warned = sh.ok("kubectl -n a006-pss create deployment d --image=busybox:1.36 2>&1");
    assert!(warned.contains(r#"Warning: would violate PodSecurity "restricted:latest""#), "{warned}");
}

fn quota(sh: &Shell) {
    namespace(sh, "a006-quota");
    sh.ok("kubectl -n a006-quota create quota q --hard=pods=1");
    let mut made = 0;
    for name in ["one", "two", "three"] {
        let mut one = pod(name, STAY);
        one["metadata"]["namespace"] = "a006-quota".into();
        sh.file("pod.json", &one.to_string());
        let said = sh.run("kubectl apply -f pod.json");
        made += usize::from(said.code == 0);
        let words = format!(
            r#"pods "{name}" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#
        );
        assert!(said.code == 0 || said.err.contains(&words), "{said:?}");
    }
    assert_eq!(made, 1);
    sh.ok("kubectl -n a006-quota wait quota q --for=jsonpath='{.status.used.pods}'=1 --timeout=20s");
    sh.ok("kubectl -n a006-quota delete pod one --now");
    sh.ok("kubectl -n a006-quota wait quota q --for=jsonpath='{.status.used.pods}'=0 --timeout=20s");
}

fn limit_range(sh: &Shell) {
    namespace(sh, "a006-limits");
    let limits = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l", "namespace": "a006-limits"},
        "spec": {"limits": [{"type": "Container", "default": {"memory": "64Mi"}, "defaultRequest": {"memory": "32Mi"}, "max": {"memory": "128Mi"}}]}});
    sh.apply(&limits.to_string());
    let mut given = pod("given", STAY);
    given["metadata"]["namespace"] = "a006-limits".into();
    sh.apply(&given.to_string());
    let resources =
        sh.ok("kubectl -n a006-limits get pod given -o jsonpath='{.spec.containers[0].resources}'");
    let resources: Value = serde_json::from_str(&resources).expect("JSON");
    assert_eq!(resources, json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}}));
    given["metadata"]["name"] = "large".into();
    given["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "1Gi"}});
    sh.file("large.json", &given.to_string());
    let refused = sh.fails("kubectl apply -f large.json");
    assert!(refused.contains("maximum memory usage per Container is 128Mi, but limit is 1Gi"), "{refused}");
}

fn runtime_class(sh: &Shell) {
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "a006"}, "handler": "runc",
        "overhead": {"podFixed": {"cpu": "10m"}}, "scheduling": {"nodeSelector": {"a006": "yes"}}});
    let mut classed = pod("classed", STAY);
    classed["spec"]["runtimeClassName"] = "a006".into();
    sh.file("classed.json", &classed.to_string());
    let refused = sh.fails("kubectl apply -f classed.json");
    assert!(refused.contains(r#"pod rejected: RuntimeClass "a006" not found"#), "{refused}");
    sh.apply(&class.to_string());
    sh.ok("kubectl apply -f classed.json");
    let merged =
        sh.ok("kubectl get pod classed -o jsonpath='{.spec.overhead.cpu} {.spec.nodeSelector.a006}'");
    assert_eq!(merged, "10m yes");
    sh.ok("kubectl delete runtimeclass a006");
}

fn a011(scene: &Scene) {
    let sh = &scene.shell;
    let schemas = sh.ok("kubectl get flowschemas");
    let row =
        |name: &str| schemas.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or("-");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        words(row("NAME")),
        ["NAME", "PRIORITYLEVEL", "MATCHINGPRECEDENCE", "DISTINGUISHERMETHOD", "AGE", "MISSINGPL"]
    );
    let global = words(row("global-default"));
    assert_eq!(global[..4], ["global-default", "global-default", "9900", "ByUser"]);
    sh.ok("kubectl wait flowschema/global-default --for=condition=Dangling=False");
    let levels = sh.ok("kubectl get prioritylevelconfigurations");
    let low = levels.lines().find(|line| line.starts_with("workload-low")).map(words);
    assert_eq!(low.expect("the level is there")[..6], ["workload-low", "Limited", "100", "128", "6", "50"]);
    let uid = sh.ok("kubectl get prioritylevelconfiguration exempt -o jsonpath={.metadata.uid}");
    let said = sh.ok("kubectl get namespaces -v=8 2>&1").to_lowercase();
    assert!(said.contains("x-kubernetes-pf-prioritylevel-uid") && said.contains(uid.trim()), "{said}");
    own_level(sh);
}

/// A level and a schema of one's own, and what comes back when it is removed.
fn own_level(sh: &Shell) {
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "a011"}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1,
            "limitResponse": {"type": "Queue"}}}});
    sh.file("level.json", &level.to_string());
    let refused = sh.fails("kubectl apply -f level.json");
    let words = "spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is Limited";
    assert!(refused.contains(words), "{refused}");
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": "a011"}, "spec": {"priorityLevelConfiguration": {"name": "a011"},
            "matchingPrecedence": 77, "rules": [{"subjects": [{"kind": "User", "user": {"name": "a011"}}],
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}]}]}});
    sh.file("schema.json", &schema.to_string());
    let said = sh.ok("kubectl apply -f schema.json 2>&1");
    assert!(!said.contains("Warning"), "{said}");
    sh.ok("kubectl wait flowschema/a011 --for=condition=Dangling=True");
    let mut level = level;
    level["spec"]["limited"]["limitResponse"] = json!({"type": "Reject"});
    sh.file("level.json", &level.to_string());
    sh.ok("kubectl apply -f level.json");
    sh.ok("kubectl wait flowschema/a011 --for=condition=Dangling=False");
    let dump = sh.ok("kubectl get --raw /debug/api_priority_and_fairness/dump_priority_levels");
    assert!(dump.starts_with("PriorityLevelName, ") && dump.contains("\na011, "), "{dump}");
    let dump = sh.ok("kubectl get --raw /debug/api_priority_and_fairness/dump_queues");
    assert!(dump.lines().any(|line| line.starts_with("workload-low, ")), "{dump}");
    // Mandatory objects come back, and so do suggested ones.
    sh.ok("kubectl delete flowschema a011 catch-all probes");
    sh.ok("kubectl wait flowschema/catch-all flowschema/probes --for=create");
    sh.ok("kubectl wait flowschema/catch-all flowschema/probes --for=condition=Dangling=False");
    sh.ok("kubectl delete prioritylevelconfiguration a011");
    let refused = sh
        .fails("kubectl patch flowschema catch-all --type=merge -p '{\"spec\":{\"matchingPrecedence\":5}}'");
    assert!(refused.contains("spec of 'catch-all' must equal the fixed value"), "{refused}");
}

fn a008(scene: &Scene) {
    let sh = &scene.shell;
    let mut manifests = String::new();
    for i in 0..15 {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("a008-{i}")}});
        let mut first = pod("first", STAY);
        first["metadata"]["namespace"] = format!("a008-{i}").into();
        manifests.push_str(&format!("{namespace}\n{first}\n"));
    }
    let said = sh.apply(&manifests);
    assert_eq!(said.matches("pod/first created").count(), 15, "{said}");
    for i in 0..15 {
        sh.ok(&format!("kubectl delete namespace a008-{i} --wait=false"));
    }
}

/// A request object and the key to it, both PEM.
fn request(name: &str, common_name: &str, organization: &str) -> (Value, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().expect("a key");
    let pem = params.serialize_request(&key).expect("a request").pem().expect("PEM");
    let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": name}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client",
        "expirationSeconds": 3600, "usages": ["client auth"], "request": BASE64_STANDARD.encode(pem)}});
    (object, key.serialize_pem())
}

fn a009(scene: &Scene) {
    let sh = &scene.shell;
    let (object, key) = request("a009", "jane", "dev");
    sh.apply(&object.to_string());
    assert!(sh.ok("kubectl get csr a009").contains("Pending"));
    sh.ok("kubectl certificate approve a009");
    sh.ok("kubectl wait csr a009 --for=jsonpath='{.status.certificate}' --timeout=20s");
    assert!(sh.ok("kubectl get csr a009").contains("Approved,Issued"));
    let certificate = sh.ok("kubectl get csr a009 -o jsonpath='{.status.certificate}'");
    let pem = BASE64_STANDARD.decode(certificate.trim()).expect("base64");
    sh.file("jane.crt", &String::from_utf8(pem).expect("PEM"));
    sh.file("jane.key", &key);
    sh.ok("kubectl config set-credentials jane --client-certificate=jane.crt --client-key=jane.key --embed-certs");
    let who = sh.ok(
        "kubectl --user=jane auth whoami -o jsonpath='{.status.userInfo.username} {.status.userInfo.groups}'",
    );
    assert!(who.starts_with("jane ") && who.contains("dev"), "{who}");
    let (denied, _) = request("a009-denied", "jane", "dev");
    sh.apply(&denied.to_string());
    sh.ok("kubectl certificate deny a009-denied");
    assert!(sh.ok("kubectl get csr a009-denied").contains("Denied"));
    sh.ok("kubectl delete csr a009 a009-denied");
}

fn a023(scene: &Scene) {
    let (object, _) = request("a023", "jane", "system:masters");
    scene.shell.file("csr.json", &object.to_string());
    let refused = scene.shell.fails("kubectl apply -f csr.json");
    assert!(
        refused.contains(
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        ),
        "{refused}"
    );
}
