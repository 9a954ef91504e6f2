//! A node that is short of something: whom it ends, whom it refuses, and what it says.

use serde_json::Value;

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w149_a_node_under_memory_pressure_ends_and_refuses_pods", w149)];

fn w149(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("short", 1);
    let mut modest = pod("modest", STAY);
    modest["spec"]["containers"][0]["resources"] =
        serde_json::json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}});
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
