//! Section F: what pods use and how many there are for it: W110.

use serde_json::json;

use crate::manifests::{STAY, container, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w110a_top_shows_what_is_used", w110a),
    ("w110b_a_busy_pod_gets_help_and_loses_it_again", w110b),
    ("w110c_a_pod_is_resized_while_it_runs", w110c),
];

/// Works while there is a file `/tmp/busy`.
const WORKER: &str = "while :; do if [ -e /tmp/busy ]; then i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; else sleep 0.2; fi; done";

/// A Deployment of one worker that may use a fifth of a core, and its pod.
fn work(scene: &Scene, busy: bool) -> String {
    let sh = &scene.shell;
    let mut worker = container("worker", WORKER);
    worker["resources"] =
        json!({"requests": {"cpu": "50m", "memory": "8Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}});
    let mut made = replicated("apps/v1", "Deployment", "work", 1);
    made["spec"]["template"]["spec"]["containers"] = json!([worker]);
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0.into();
    sh.apply(&made.to_string());
    sh.ok("kubectl rollout status deployment/work --timeout=90s");
    let pod = sh.ok("kubectl get pods -l app=work -o jsonpath='{.items[0].metadata.name}'");
    if busy {
        sh.ok(&format!("kubectl exec {pod} -- touch /tmp/busy"));
    }
    pod
}

/// Thousandths of a core.
fn millicores(text: &str) -> u32 {
    text.strip_suffix('m')
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no millicores: {text}"))
}

fn w110a(scene: &Scene) {
    let sh = &scene.shell;
    let pod = work(scene, true);
    sh.ok("kubectl run idle --image=busybox:1.36 --labels=app=idle --command -- sleep 1000");
    sh.ok("kubectl wait --for=condition=Ready pod/idle --timeout=60s");
    let table = sh.ok("kubectl top pods --sort-by=cpu");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "CPU(cores)", "MEMORY(bytes)"]);
    // The busy one first.
    assert_eq!((lines.len(), lines[1][0], lines[2][0]), (3, &*pod, "idle"), "{table}");
    // How much it gets of the machine depends on who else works; more than its limit and the window's edges it is not.
    let (busy, idle) = (millicores(lines[1][1]), millicores(lines[2][1]));
    assert!((10..=300).contains(&busy) && idle < busy, "{table}");
    assert!(lines[1][2].ends_with("Mi"), "{table}");
    let table = sh.ok("kubectl top pods -l app=idle --containers --no-headers");
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!((words.len(), &words[..2]), (4, &["idle", "idle"][..]), "{table}");
    let missing = sh.fails("kubectl top pod none");
    assert!(missing.contains("pods \"none\" not found"), "{missing}");
    let table = sh.ok("kubectl top nodes");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"], "{table}");
    assert!(lines.len() > 1 && millicores(lines[1][1]) > 0 && lines[1][4].ends_with('%'), "{table}");
    let window = sh.ok(&format!("kubectl get podmetrics {pod} -o jsonpath='{{.window}}'"));
    assert!(window.ends_with('s') && window != "0s", "{window}");
    // Who may read pods' figures is a matter of roles.
    sh.ok("kubectl create serviceaccount watcher");
    let namespace = &scene.namespace;
    let who = format!("--as=system:serviceaccount:{namespace}:watcher");
    let refused = sh.fails(&format!("kubectl top pods {who}"));
    assert!(refused.contains("cannot list resource \"pods\" in API group \"metrics.k8s.io\""), "{refused}");
    sh.ok(&format!(
        "kubectl create rolebinding watch --clusterrole=view --serviceaccount={namespace}:watcher"
    ));
    sh.ok(&format!("kubectl top pods {who}"));
}

/// Waits for the number of pods that are wanted; an autoscaler looks every quarter of a minute.
fn scaled(scene: &Scene, replicas: u32) {
    let wait =
        format!("kubectl wait --for=jsonpath='{{.spec.replicas}}'={replicas} deployment/work --timeout=100s");
    let said = scene.shell.run(&wait);
    if said.code != 0 {
        let why = scene.shell.ok("kubectl describe hpa; kubectl top pods");
        panic!("not scaled to {replicas}: {}\n{why}", said.out);
    }
}

fn w110b(scene: &Scene) {
    let sh = &scene.shell;
    let pod = work(scene, true);
    sh.ok("kubectl autoscale deployment work --cpu-percent=100 --min=1 --max=2");
    let behavior = json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}});
    sh.ok(&format!("kubectl patch hpa work --type=merge -p '{behavior}'"));
    scaled(scene, 2);
    sh.ok("kubectl rollout status deployment/work --timeout=60s");
    let told = sh.ok("kubectl describe hpa work");
    for part in [
        "resource cpu on pods  (as a percentage of request)",
        "SuccessfulRescale",
        "New size: 2; reason: cpu resource utilization (percentage of request) above target",
        "ScalingActive   True    ValidMetricFound  the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    let row = sh.ok("kubectl get hpa work --no-headers");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..3], ["work", "Deployment/work", "cpu:"], "{row}");
    assert!(words[3].ends_with("%/100%") && words[4..6] == ["1", "2"], "{row}");
    // Nobody works any more.
    sh.ok(&format!("kubectl exec {pod} -- rm /tmp/busy"));
    scaled(scene, 1);
    let told = sh.ok("kubectl describe hpa work");
    assert!(told.contains("New size: 1; reason: All metrics below target"), "{told}");
    // The old version of the kind says the same.
    let old = sh.ok("kubectl get --raw /apis/autoscaling/v1/namespaces/$(kubectl config view --minify -o jsonpath='{..namespace}')/horizontalpodautoscalers/work");
    assert!(
        old.contains("\"targetCPUUtilizationPercentage\":100")
            && old.contains("autoscaling.alpha.kubernetes.io/conditions"),
        "{old}"
    );
    // What is scaled may be gone.
    sh.ok("kubectl delete deployment work");
    sh.ok("kubectl wait --for=condition=AbleToScale=false hpa/work --timeout=40s");
    let told = sh.ok("kubectl describe hpa work");
    assert!(told.contains("the HPA controller was unable to get the target's current scale: deployments.apps \"work\" not found"), "{told}");
    // Metrics of servers that would have to be aggregated.
    let pods = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "hits"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "work"},
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "1"}}}]}});
    sh.ok("kubectl delete hpa work");
    work(scene, false);
    sh.apply(&pods.to_string());
    sh.ok("kubectl wait --for=condition=ScalingActive=false hpa/hits --timeout=40s");
    let told = sh.ok("kubectl describe hpa hits");
    assert!(
        told.contains("no custom metrics API (custom.metrics.k8s.io) registered")
            && told.contains("FailedGetPodsMetric"),
        "{told}"
    );
}

fn w110c(scene: &Scene) {
    let sh = &scene.shell;
    let sized = |name: &str| {
        let mut made = container(name, STAY);
        made["resources"] = json!({"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}});
        made
    };
    let mut made = pod("sized", STAY);
    let mut restarts = sized("restarts");
    restarts["resizePolicy"] = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    made["spec"]["containers"] = json!([sized("stays"), restarts]);
    sh.apply(&made.to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/sized --timeout=60s");
    let resize = |container: &str, resources: &str| {
        sh.ok(&format!(
            r#"kubectl patch pod sized --subresource resize -p '{{"spec":{{"containers":[{{"name":"{container}","resources":{resources}}}]}}}}'"#
        ));
    };
    let settled = |name: &str, path: &str, value: &str| {
        let of = format!("{{.status.containerStatuses[?(@.name==\"{name}\")].{path}}}");
        sh.ok(&format!("kubectl wait pod/sized --for=jsonpath='{of}'={value} --timeout=60s"));
    };
    // The kernel's own word on the container's memory, on either version of cgroups.
    let limit = |name: &str| {
        let files = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
        sh.ok(&format!("kubectl exec sized -c {name} -- sh -c '{files}; true'")).trim().to_owned()
    };
    resize("stays", r#"{"limits":{"cpu":"300m","memory":"48Mi"}}"#);
    settled("stays", "resources.limits.memory", "48Mi");
    assert_eq!((limit("stays"), limit("restarts")), ((48 << 20).to_string(), (32 << 20).to_string()));
    resize("restarts", r#"{"limits":{"memory":"40Mi"}}"#);
    settled("restarts", "restartCount", "1");
    settled("restarts", "resources.limits.memory", "40Mi");
    sh.ok("kubectl wait --for=condition=Ready pod/sized --timeout=60s");
    assert_eq!(limit("restarts"), (40 << 20).to_string());
    settled("stays", "restartCount", "0");
    resize("stays", r#"{"requests":{"cpu":"9999"},"limits":{"cpu":"9999"}}"#);
    sh.ok("kubectl wait --for=condition=PodResizePending pod/sized --timeout=30s");
    let why = sh.ok(
        r#"kubectl get pod sized -o jsonpath='{.status.conditions[?(@.type=="PodResizePending")].message}'"#,
    );
    assert!(
        why.starts_with("Node didn't have enough capacity: cpu, requested: 9999100, capacity: "),
        "{why}"
    );
    settled("stays", "resources.limits.cpu", "300m");
    resize("stays", r#"{"requests":{"cpu":"100m"},"limits":{"cpu":"200m"}}"#);
    settled("stays", "resources.limits.cpu", "200m");
    let lost = sh.fails(
        r#"kubectl patch pod sized --subresource resize -p '{"spec":{"containers":[{"name":"stays","resources":{"limits":{"memory":null}}}]}}'"#,
    );
    assert!(lost.contains("resource limits cannot be removed"), "{lost}");
    let events = sh.ok("kubectl events --for pod/sized");
    for reason in ["ResizeStarted", "ResizeCompleted", "ResizeInfeasible"] {
        assert!(events.contains(reason), "{events}");
    }
}
