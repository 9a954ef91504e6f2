//! Section G: budgets of disruption and preemption: W121, its parts about evictions.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, container, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w121a_evictions_keep_to_the_budget", w121a),
    ("w121b_budgets_are_told_listed_and_changed", w121b),
    ("w121c_pods_give_way_to_more_important_ones", w121c),
];

/// A deployment of busybox pods and their number once all are ready.
fn run(sh: &Shell, name: &str, replicas: u32) -> Vec<String> {
    let mut made = replicated("apps/v1", "Deployment", name, replicas);
    made["spec"]["template"]["spec"]["containers"] = json!([container("main", STAY)]);
    sh.apply(&made.to_string());
    sh.ok(&format!("kubectl rollout status deployment/{name} --timeout=90s"));
    let pods = sh.ok(&format!("kubectl get pods -l app={name} -o jsonpath='{{.items[*].metadata.name}}'"));
    pods.split_whitespace().map(str::to_owned).collect()
}

fn evict(sh: &Shell, namespace: &str, pod: &str) -> Result<(), String> {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace}});
    sh.file("eviction.json", &eviction.to_string());
    let done = sh.run(&format!(
        "kubectl create --raw /api/v1/namespaces/{namespace}/pods/{pod}/eviction -f eviction.json 2>&1"
    ));
    if done.code == 0 { Ok(()) } else { Err(done.out) }
}

fn told(sh: &Shell, path: &str, value: &str) {
    sh.ok(&format!("kubectl wait --for=jsonpath='{path}'={value} pdb/b --timeout=60s"));
}

fn w121a(scene: &Scene) {
    let sh = &scene.shell;
    let namespace = sh.ok("kubectl config view --minify -o jsonpath='{..namespace}'");
    let pods = run(sh, "web", 3);
    sh.ok("kubectl create poddisruptionbudget b --selector=app=web --min-available=2");
    told(sh, "{.status.disruptionsAllowed}", "1");
    evict(sh, &namespace, &pods[0]).expect("one may go");
    let told_why = sh.run(&format!(
        "kubectl get pod {} -o jsonpath='{{.status.conditions[?(@.type==\"DisruptionTarget\")].reason}}'",
        pods[0]
    ));
    // It may be gone already.
    assert!(told_why.code != 0 || told_why.out == "EvictionByEvictionAPI", "{}", told_why.out);
    // Its place is taken, and the next may go.
    sh.ok(&format!("kubectl wait --for=delete pod/{} --timeout=60s", pods[0]));
    sh.ok("kubectl rollout status deployment/web --timeout=90s");
    told(sh, "{.status.disruptionsAllowed}", "1");

    // A budget that can never be met holds all; its number changed lets go.
    sh.ok("kubectl patch pdb b -p '{\"spec\": {\"minAvailable\": \"100%\"}}'");
    told(sh, "{.status.desiredHealthy}", "3");
    let refused = evict(sh, &namespace, &pods[1]).expect_err("none may go");
    assert!(
        refused.contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{refused}"
    );
    sh.ok(&format!("kubectl wait --for=condition=Ready pod/{} --timeout=10s", pods[1]));
    sh.ok("kubectl patch pdb b --type=json -p '[{\"op\": \"remove\", \"path\": \"/spec/minAvailable\"}, {\"op\": \"add\", \"path\": \"/spec/maxUnavailable\", \"value\": 1}]'");
    told(sh, "{.status.disruptionsAllowed}", "1");
    evict(sh, &namespace, &pods[1]).expect("one may go");

    let table = sh.ok("kubectl get pdb");
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(
        words[..12],
        [
            "NAME",
            "MIN",
            "AVAILABLE",
            "MAX",
            "UNAVAILABLE",
            "ALLOWED",
            "DISRUPTIONS",
            "AGE",
            "b",
            "N/A",
            "1",
            words[11]
        ],
        "{table}"
    );
    // Pods without an owner cannot be counted by what is wanted.
    sh.ok("kubectl delete deployment web --cascade=orphan");
    let replica_set = sh.ok("kubectl get rs -l app=web -o name");
    sh.ok(&format!("kubectl delete {} --cascade=orphan", replica_set.trim()));
    sh.ok("timeout 30 bash -c 'until kubectl get events | grep -q UnmanagedPods; do sleep 0.2; done'");
}

fn w121b(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok("kubectl create pdb b --selector=app=none --min-available=1");
    told(sh, "{.status.conditions[0].reason}", "InsufficientPods");
    assert!(sh.ok("kubectl get events").contains("No matching pods found"));
    let other = format!("{}-other", sh.ok("kubectl config view --minify -o jsonpath='{..namespace}'"));
    sh.ok(&format!("kubectl create namespace {other} && kubectl create pdb b -n {other} --selector=app=none --max-unavailable=1"));
    let all: Value = serde_json::from_str(&sh.ok("kubectl get pdb -A -o json")).expect("JSON");
    assert!(all["items"].as_array().expect("a list").len() >= 2);
    // The status is a part of its own.
    sh.ok("kubectl patch pdb b --subresource=status --type=merge -p '{\"status\": {\"disruptedPods\": {\"p\": \"2026-01-01T00:00:00Z\"}}}'");
    sh.ok("kubectl annotate pdb b a=b");
    let refused = sh.fails("kubectl patch pdb b -p '{\"spec\": {\"maxUnavailable\": 1}}'");
    assert!(refused.contains("minAvailable and maxUnavailable cannot be both set"), "{refused}");
    sh.ok(&format!("kubectl delete pdb --all && kubectl delete namespace {other}"));
    assert_eq!(
        sh.ok("kubectl get pdb 2>&1"),
        format!(
            "No resources found in {} namespace.\n",
            sh.ok("kubectl config view --minify -o jsonpath='{..namespace}'")
        )
    );
}

/// A pod of a class that asks for some of the thing that only these pods use.
fn ranked(name: &str, class: &str, amount: u32) -> String {
    let mut made = pod(name, STAY);
    made["spec"]["priorityClassName"] = class.into();
    let amounts = json!({"example.com/w121": amount.to_string()});
    made["spec"]["containers"][0]["resources"] = json!({"requests": amounts, "limits": amounts});
    made.to_string()
}

fn w121c(scene: &Scene) {
    let sh = &scene.shell;
    let node = sh.ok("kubectl get nodes -o jsonpath='{.items[0].metadata.name}'");
    let amounts = json!({"example.com/w121": "3"});
    let patch = json!({"status": {"capacity": amounts, "allocatable": amounts}});
    sh.ok(&format!("kubectl patch node {node} --subresource=status --type=merge -p '{patch}'"));
    for (name, value, policy) in [
        ("w121-low", 1, "PreemptLowerPriority"),
        ("w121-high", 1000, "PreemptLowerPriority"),
        ("w121-shy", 2000, "Never"),
    ] {
        sh.ok(&format!("kubectl create priorityclass {name} --value={value} --preemption-policy={policy}"));
    }
    for name in ["old", "young"] {
        sh.apply(&ranked(name, "w121-low", 1));
        sh.ok(&format!("kubectl wait --for=condition=Ready pod/{name} --timeout=60s"));
        // Times are told in whole seconds, and the younger one goes.
        sh.ok("sleep 1.1");
    }
    // One that does not preempt waits, although it is the most important one.
    sh.apply(&ranked("shy", "w121-shy", 2));
    sh.ok("kubectl wait --for=jsonpath='{.status.conditions[0].reason}'=Unschedulable pod/shy --timeout=30s");
    let why = sh.ok("kubectl get pod shy -o jsonpath='{.status.conditions[0].message}'");
    assert!(why.ends_with("preemption: not eligible due to preemptionPolicy=Never."), "{why}");

    sh.apply(&ranked("urgent", "w121-high", 2));
    sh.ok("kubectl wait --for=condition=Ready pod/urgent --timeout=60s");
    sh.ok("kubectl wait --for=condition=Ready pod/old --timeout=10s");
    sh.ok("kubectl wait --for=delete pod/young --timeout=30s");
    let urgent: Value = serde_json::from_str(&sh.ok("kubectl get pod urgent -o json")).expect("JSON");
    assert!(urgent["status"]["nominatedNodeName"].is_null(), "{urgent}");
    let uid = urgent["metadata"]["uid"].as_str().expect("a uid");
    let told = sh.ok("kubectl get events --field-selector involvedObject.name=young,reason=Preempted -o jsonpath='{.items[0].message}'");
    assert_eq!(told, format!("Preempted by pod {uid} on node {node}"));
    let told = sh.ok("kubectl get events --field-selector involvedObject.name=urgent,reason=FailedScheduling -o jsonpath='{.items[0].message}'");
    assert_eq!(told, "0/1 nodes are available: 1 Insufficient example.com/w121.");

    // A critical pod of the system is the most important of all.
    let mut critical: Value =
        serde_json::from_str(&ranked("critical", "system-cluster-critical", 3)).expect("JSON");
    critical["metadata"]["namespace"] = "kube-system".into();
    sh.apply(&critical.to_string());
    sh.ok("kubectl wait -n kube-system --for=condition=Ready pod/critical --timeout=60s");
    sh.ok("kubectl delete -n kube-system pod critical --grace-period=1");
    sh.ok("kubectl wait --for=condition=Ready pod/shy --timeout=60s");
    sh.ok("kubectl delete pod shy && kubectl delete priorityclass w121-low w121-high w121-shy");
    let patch = json!({"status": {"capacity": {"example.com/w121": null}, "allocatable": {"example.com/w121": null}}});
    sh.ok(&format!("kubectl patch node {node} --subresource=status --type=merge -p '{patch}'"));
}
