//! Nodes that are heard of no more: what becomes of them and of their pods, and when they come back.

use serde_json::{Value, json};

use crate::apart::join;
use crate::leftovers::slot;
use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w050b_pods_of_a_lost_node_are_not_ready_and_leave_it", lost),
    ("w050c_a_machine_that_was_cut_off_catches_up", cut_off),
];

/// How long a pod stays on a lost node: a second instead of five minutes.
fn leaves_at_once() -> Value {
    json!([{
        "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1,
    }])
}

fn lost(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("lost", 2);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let second = sh.ok("kubectl get nodes -l '!node-role.kubernetes.io/control-plane' -o jsonpath='{.items[*].metadata.name}'");
    let (mut here, mut there, mut stays) = (pod("here", STAY), pod("there", STAY), pod("stays", STAY));
    here["spec"]["nodeSelector"] = json!({"node-role.kubernetes.io/control-plane": ""});
    for remote in [&mut there, &mut stays] {
        remote["spec"]["nodeName"] = json!(second);
    }
    there["spec"]["tolerations"] = leaves_at_once();
    sh.apply(&format!("{here}\n{there}\n{stays}"));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");

    // The machine stays and its containers run on, but the second node's cable is out.
    let cable = format!("ip link set knarr{}nodes1", slot(scene, cluster.name()));
    let mut events = sh.start(
        "kubectl get events -w --no-headers -o custom-columns=N:.involvedObject.name,R:.reason,M:.message",
    );
    sh.ok(&format!("{cable} down"));
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
    let taints = format!(
        "kubectl get node {second} -o jsonpath='{{range .spec.taints[*]}}{{.key}}:{{.effect}} {{end}}'"
    );
    let found = sh.ok(&taints);
    assert!(found.contains("node.kubernetes.io/unreachable:NoExecute"), "{found}");
    assert!(found.contains("node.kubernetes.io/unreachable:NoSchedule"), "{found}");
    sh.ok("kubectl wait pod/stays --for=condition=Ready=False --timeout=30s");
    let pods = sh.ok("kubectl get pods --no-headers");
    let line = |name: &str| pods.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("there").contains("Terminating"), "{pods}");
    // Its containers were last heard of as ready: the column counts them, not the pod's condition.
    assert!(line("stays").contains("1/1") && line("stays").contains("Running"), "{pods}");
    assert!(line("here").contains("1/1") && line("here").contains("Running"), "{pods}");

    // The node comes back: it ends what was to leave, and what stayed runs on.
    sh.ok(&format!("{cable} up"));
    sh.ok(&format!("kubectl wait node/{second} pod/stays --for=condition=Ready --timeout=60s"));
    sh.ok("kubectl wait --for=delete pod/there --timeout=60s");
    let keys = format!("kubectl get node {second} -o jsonpath={{.spec.taints[*].key}}");
    sh.ok(&format!("timeout 30 bash -c 'while {keys} | grep unreachable; do sleep 0.2; done'"));
    assert_eq!(sh.ok("kubectl get pod stays -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");

    // With a lost node's object its pods go, too: nobody is left to end them.
    sh.ok(&format!("{cable} down && kubectl delete node {second}"));
    sh.ok("kubectl wait --for=delete pod/stays --timeout=110s");
    assert_eq!(sh.ok("kubectl get pod here -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    // And when it hears of that after all, they end there.
    sh.ok(&format!("{cable} up"));
    let runs = format!("knarr crictl pods --name {} | grep -w stays", cluster.name());
    sh.ok(&format!("timeout 60 bash -c 'while {runs}; do sleep 0.2; done'"));
    cluster.take_down().expect("nothing of it is left");
}

/// A machine without a cable, while its pods are deleted and moved elsewhere and the server is started anew.
fn cut_off(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("hour", 1);
    let (agent, _) = join(&cluster, &sh, "hfar", "far");
    let remote = |name: &str| {
        let mut pod = pod(name, STAY);
        pod["spec"]["nodeName"] = "far".into();
        pod
    };
    let mut moves = crate::manifests::replicated("apps/v1", "Deployment", "moves", 1);
    let spec = &mut moves["spec"]["template"]["spec"];
    spec["tolerations"] = leaves_at_once();
    spec["affinity"] = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["far"]}]},
    }]}});
    sh.apply(&format!("{}\n{}\n{}\n{moves}", remote("kept"), remote("asked"), remote("forced")));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s && kubectl rollout status deployment/moves --timeout=60s");
    let moving = "kubectl get pods -l app=moves --no-headers -o custom-columns=N:.metadata.name,W:.spec.nodeName,D:.metadata.deletionTimestamp";
    let first = sh.ok(moving);
    let (old, _) = first.split_once(' ').expect("a pod");
    assert!(first.contains(" far "), "{first}");

    agent.machine.connect(false).expect("the cable is out");
    sh.ok("kubectl wait node/far --for=condition=Ready=Unknown --timeout=100s");
    sh.ok("kubectl delete pod asked --wait=false && kubectl delete pod forced --force --grace-period=0");
    sh.ok("kubectl rollout status deployment/moves --timeout=60s");
    let pods = sh.ok(moving);
    let (gone, new): (Vec<&str>, Vec<&str>) = pods.lines().partition(|line| line.starts_with(old));
    assert!(gone.len() == 1 && !gone[0].ends_with("<none>"), "nobody has ended the old one: {pods}");
    assert!(new.len() == 1 && !new[0].contains(" far "), "{pods}");
    let on_machine = || agent.knarr(&["crictl", "pods"]).expect("the machine's pods");
    let before = on_machine();
    for pod in ["kept", "asked", "forced", old] {
        assert!(before.contains(&format!(" {pod} ")), "{pod} runs on unseen:\n{before}");
    }
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the server comes up again");
    assert!(sh.ok("kubectl get pod asked --no-headers").contains("Terminating"));

    agent.machine.connect(true).expect("the cable is in");
    sh.ok("kubectl wait node/far --for=condition=Ready --timeout=60s");
    sh.ok(&format!("kubectl wait --for=delete pod/asked pod/{old} --timeout=60s"));
    let left = format!("knarr crictl pods --name {} | grep -wE \"asked|forced|{old}\"", agent.name());
    sh.ok(&format!("timeout 60 bash -c 'while {left}; do sleep 0.2; done'"));
    sh.ok("kubectl wait pod/kept --for=condition=Ready --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod kept -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    assert_eq!(sh.ok(moving).lines().count(), 1, "the new one alone");
    assert!(on_machine().contains(" kept "));
    sh.apply(&remote("later").to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/later --timeout=60s");
    sh.ok("kubectl delete pod kept later --timeout=60s");
    agent.take_down().expect("nothing of it is left");
}
