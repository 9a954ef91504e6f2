//! A node that is heard of no more: what becomes of it and of its pods.

use serde_json::json;

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w050b_pods_of_a_lost_node_are_not_ready_and_leave_it", lost)];

fn lost(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("lost", 2);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let second = sh.ok("kubectl get nodes -l '!node-role.kubernetes.io/control-plane' -o jsonpath='{.items[*].metadata.name}'");
    let (mut here, mut there, mut stays) = (pod("here", STAY), pod("there", STAY), pod("stays", STAY));
    here["spec"]["nodeSelector"] = json!({"node-role.kubernetes.io/control-plane": ""});
    for remote in [&mut there, &mut stays] {
        remote["spec"]["nodeName"] = json!(second);
    }
    there["spec"]["tolerations"] = json!([{
        "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1,
    }]);
    sh.apply(&format!("{here}\n{there}\n{stays}"));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");

    // The machine stays and its containers run on, but nobody speaks for the second node any more.
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig", "--nodes", "1"]).expect("the first node comes up again");
    let mut events = sh.start(
        "kubectl get events -w --no-headers -o custom-columns=N:.involvedObject.name,R:.reason,M:.message",
    );
    sh.ok(&format!("kubectl wait node/{second} --for=condition=Ready=Unknown --timeout=100s"));
    assert!(sh.ok(&format!("kubectl get node {second} --no-headers")).contains(" NotReady "));
    let told = sh.ok(&format!("kubectl describe node {second}"));
    assert!(
        told.contains("NodeStatusUnknown") && told.contains("Kubelet stopped posting node status."),
        "{told}"
    );
    events.wait_until("the eviction", |line| {
        line.starts_with("there")
            && line.contains("TaintManagerEviction")
            && line.contains("Marking for deletion Pod default/there")
    });
    let taints = sh.ok(&format!(
        "kubectl get node {second} -o jsonpath='{{range .spec.taints[*]}}{{.key}}:{{.effect}} {{end}}'"
    ));
    assert!(taints.contains("node.kubernetes.io/unreachable:NoExecute"), "{taints}");
    assert!(taints.contains("node.kubernetes.io/unreachable:NoSchedule"), "{taints}");
    sh.ok("kubectl wait pod/stays --for=condition=Ready=False --timeout=30s");
    let pods = sh.ok("kubectl get pods --no-headers");
    let line = |name: &str| pods.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("there").contains("Terminating"), "{pods}");
    // Its containers were last heard of as ready: the column counts them, not the pod's condition.
    assert!(line("stays").contains("1/1") && line("stays").contains("Running"), "{pods}");
    assert!(line("here").contains("1/1") && line("here").contains("Running"), "{pods}");

    // With the node's object its pods go, too: nobody is left to end them.
    sh.ok(&format!("kubectl delete node {second}"));
    sh.ok("kubectl wait --for=delete pod/there pod/stays --timeout=110s");
    assert_eq!(sh.ok("kubectl get pod here -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
}
