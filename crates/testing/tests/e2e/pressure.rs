//! A node that is short of something: whom it ends, whom it refuses, and what it says.

use serde_json::{Value, json};

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w149_a_node_under_memory_pressure_ends_and_refuses_pods", w149),
    ("w149b_pods_that_write_more_than_they_may_are_ended", w149b),
    ("w149c_a_node_refuses_pods_bound_by_hand_and_makes_room_for_critical_ones", w149c),
    ("w149d_the_nodes_api_shows_logs_and_what_runs", w149d),
];

fn w149(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("short", 1);
    let mut modest = pod("modest", STAY);
    modest["spec"]["containers"][0]["resources"] =
        json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}});
    sh.apply(&format!("{}\n{modest}", pod("greedy", STAY)));
    sh.ok("kubectl wait --for=condition=Ready pod/greedy pod/modest --timeout=60s");
    let condition =
        "kubectl get nodes -o jsonpath='{.items[0].status.conditions[?(@.type==\"MemoryPressure\")].status}'";
    assert_eq!(sh.ok(condition), "False");

    // No machine has 99 of 100 bytes left. The pods run on meanwhile.
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    let flags = ["up", "--no-kubeconfig", "--eviction-hard=memory.available<99%"];
    cluster.knarr(&flags).expect("up with a threshold");
    sh.ok("kubectl wait --for=jsonpath={.status.phase}=Failed pod/greedy --timeout=90s");
    let ended: Value = serde_json::from_str(&sh.ok("kubectl get pod greedy -o json")).expect("a pod");
    assert_eq!(ended["status"]["reason"], "Evicted");
    let message = ended["status"]["message"].as_str().expect("a message");
    assert!(message.starts_with("The node was low on resource: memory. Threshold quantity: "), "{message}");
    assert!(message.contains("Container main was using "), "{message}");
    let conditions = ended["status"]["conditions"].as_array().expect("conditions");
    let target = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget");
    assert_eq!(target.expect("it is told")["reason"], "TerminationByKubelet");
    assert_eq!(sh.ok(condition), "True");
    sh.ok("kubectl wait node --all --for=jsonpath='{.spec.taints[?(@.key==\"node.kubernetes.io/memory-pressure\")].effect}'=NoSchedule --timeout=60s");
    let told = sh.ok(
        "kubectl get events --field-selector reason=EvictionThresholdMet -o jsonpath={.items[*].message}",
    );
    assert!(told.contains("Attempting to reclaim memory"), "{told}");

    // Who is bound by hand and asks for nothing is refused.
    let mut late = pod("late", STAY);
    late["spec"]["nodeName"] = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}").into();
    sh.apply(&late.to_string());
    sh.ok("kubectl wait --for=jsonpath={.status.reason}=Evicted pod/late --timeout=60s");
    assert_eq!(
        sh.ok("kubectl get pod late -o jsonpath={.status.message}"),
        "Pod was rejected: The node had condition: [MemoryPressure]. "
    );
    // Its turn comes when that has not helped.
    sh.ok("kubectl wait --for=jsonpath={.status.reason}=Evicted pod/modest --timeout=90s");
}

fn w149b(scene: &Scene) {
    let sh = &scene.shell;
    let writing = |name: &str, limits: Value| {
        let mut pod = pod(name, &format!("dd if=/dev/zero of=/file bs=1M count=30; {STAY}"));
        pod["spec"]["containers"][0]["resources"] = json!({"limits": limits});
        pod
    };
    let mut two = writing("two", json!({"ephemeral-storage": "50Mi"}));
    two["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    two["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    two["spec"]["containers"][0]["command"][2] =
        format!("for at in /file /scratch/file; do dd if=/dev/zero of=$at bs=1M count=30; done; {STAY}")
            .into();
    let one = writing("one", json!({"ephemeral-storage": "20Mi"}));
    let modest = writing("modest", json!({"ephemeral-storage": "40Mi"}));
    sh.apply(&format!("{one}\n{two}\n{modest}"));
    for (name, message) in [
        // The only container's limit is the pod's, which counts first.
        ("one", "Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. "),
        ("two", "Pod ephemeral local storage usage exceeds the total limit of containers 50Mi. "),
    ] {
        sh.ok(&format!("kubectl wait --for=jsonpath={{.status.reason}}=Evicted pod/{name} --timeout=60s"));
        assert_eq!(sh.ok(&format!("kubectl get pod {name} -o jsonpath={{.status.message}}")), message);
    }
    assert_eq!(sh.ok("kubectl get pod modest -o jsonpath={.status.phase}"), "Running");
    let told = sh
        .ok("kubectl get events --field-selector reason=Evicted -o jsonpath={.items[*].involvedObject.name}");
    assert!(told.contains("one") && told.contains("two") && !told.contains("modest"), "{told}");
}

fn w149c(scene: &Scene) {
    let (_cluster, sh) = scene.own_cluster("full", 1);
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let bound = |name: &str| {
        let mut pod = pod(name, STAY);
        pod["spec"]["nodeName"] = node.as_str().into();
        pod
    };
    let mut selecting = bound("selecting");
    selecting["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    sh.apply(&selecting.to_string());
    sh.ok("kubectl wait --for=jsonpath={.status.reason}=NodeAffinity pod/selecting --timeout=60s");
    assert_eq!(
        sh.ok("kubectl get pod selecting -o jsonpath={.status.message}"),
        "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    );
    sh.ok("kubectl delete pod selecting");
    // The label counts at once.
    sh.ok(&format!("kubectl label node {node} disk=ssd"));
    sh.apply(&selecting.to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/selecting --timeout=60s");

    // What is left of the node's memory goes to one pod; a critical one has it back.
    let memory = sh.ok("kubectl get nodes -o jsonpath={.items[0].status.allocatable.memory}");
    let all_ki: u64 = memory.trim_end_matches("Ki").parse().expect("an amount in Ki");
    let asking = |name: &str| {
        let mut pod = bound(name);
        let requests = json!({"memory": format!("{}Ki", all_ki / 10 * 6)});
        pod["spec"]["containers"][0]["resources"] = json!({"requests": requests});
        pod
    };
    sh.apply(&asking("common").to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/common --timeout=60s");
    let mut critical = asking("critical");
    critical["spec"]["priorityClassName"] = "system-node-critical".into();
    sh.apply(&critical.to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/critical --timeout=60s");
    let ended: Value = serde_json::from_str(&sh.ok("kubectl get pod common -o json")).expect("a pod");
    assert_eq!(ended["status"]["reason"], "Preempting");
    assert_eq!(ended["status"]["message"], "Preempted in order to admit critical pod");
    let metrics = sh.ok(&format!("kubectl get --raw /api/v1/nodes/{node}/proxy/metrics"));
    assert!(metrics.contains("kubelet_preemptions{preemption_signal=\"memory\"} 1"), "{metrics}");
}

fn w149d(scene: &Scene) {
    let sh = &scene.shell;
    let mut web = pod("web", STAY);
    web["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    web["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}});
    sh.apply(&format!("{claim}\n{web}"));
    sh.ok("kubectl wait --for=condition=Ready pod/web --timeout=60s");
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let get = |path: &str| sh.ok(&format!("kubectl get --raw '/api/v1/nodes/{node}/proxy/{path}'"));
    let page = get("logs/");
    assert!(page.starts_with("<!doctype html>"), "{page}");
    let running: Value = serde_json::from_str(&get("runningpods/")).expect("a list");
    let own = running["items"].as_array().expect("pods").iter().find(|pod| {
        pod["metadata"]["name"] == "web" && pod["metadata"]["namespace"] == scene.namespace.as_str()
    });
    assert_eq!(own.expect("it runs")["spec"]["containers"][0]["name"], "main");
    let settings: Value = serde_json::from_str(&get("configz")).expect("settings");
    assert_eq!(settings["kubeletconfig"]["enableSystemLogHandler"], true);
    assert_eq!(settings["kubeletconfig"]["evictionHard"]["memory.available"], "100Mi");
    let metrics = get("metrics");
    for name in [
        "kubelet_started_pods_total ",
        "kubelet_active_pods{static=\"\"} ",
        "kubelet_pod_start_sli_duration_seconds_count ",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is not in\n{metrics}");
    }
    // Whoever has the right reads figures at the node itself, by a token.
    let namespace = scene.namespace.as_str();
    sh.ok("kubectl create serviceaccount reader && kubectl create serviceaccount stranger");
    sh.ok(&format!("kubectl create clusterrole {namespace}-figures --verb=get --resource=nodes/metrics"));
    sh.ok(&format!(
        "kubectl create clusterrolebinding {namespace}-figures --clusterrole={namespace}-figures --serviceaccount={namespace}:reader"
    ));
    let ip = sh.ok(
        "kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'",
    );
    let port = sh.ok("kubectl get nodes -o jsonpath={.items[0].status.daemonEndpoints.kubeletEndpoint.Port}");
    let code = |account: &str, path: &str| {
        let token = sh.ok(&format!("kubectl create token {account}"));
        let url = format!("https://{ip}:{port}/{path}");
        sh.ok(&format!("curl -sk -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {token}' {url}"))
    };
    let codes = ["metrics", "metrics/resource", "stats/summary", "pods"].map(|path| code("reader", path));
    sh.ok(&format!("kubectl delete clusterrolebinding,clusterrole {namespace}-figures"));
    assert_eq!(codes, ["200", "200", "403", "403"]);
    assert_eq!(code("stranger", "metrics"), "403");
    assert_eq!(
        sh.ok(&format!("curl -sk -H 'Authorization: Bearer x' https://{ip}:{port}/metrics")),
        "Unauthorized"
    );
}
