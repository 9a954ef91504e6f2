//! What a cluster leaves on the machine: nothing but its data, whatever became of it.

use std::fs;

use serde_json::json;

use crate::manifests::{STAY, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("f010_down_after_everything_was_killed_leaves_nothing", all_killed),
    ("f011_everything_killed_comes_up_again", comes_again),
    ("f012_two_clusters_live_side_by_side", side_by_side),
];

/// What of a cluster the machine shows, one line each: processes, mounts, cgroups, links, tables, files. `slot` is
/// the digit its links carry.
pub fn traces(scene: &Scene, name: &str, slot: &str) -> String {
    let line = format!(
        "pgrep -af -- '[k]narr (server|agent) --name {name} '; \
         for p in /proc/[0-9]*; do case $(readlink $p/cwd) in /run/knarr/{name}/*) cat $p/comm;; esac; done; \
         grep -e /run/knarr/{name}/ -e {name}/data/ /proc/mounts; \
         find /sys/fs/cgroup -type d -name knarr-{name}; \
         ip -o link | grep -oE ' (knarr{slot}n|kn{slot}v)[0-9a-z]+'; \
         nft list tables | grep knarr{slot}n; \
         ls -d /run/knarr/{name} /etc/knarr/{name}.kubeconfig 2>/dev/null; \
         true"
    );
    scene.shell.ok(&line)
}

/// Pods that mount, listen and have limits, so that there is something to leave behind.
fn furnished() -> String {
    let mut full = pod("full", STAY);
    full["spec"]["volumes"] =
        json!([{"name": "mem", "emptyDir": {"medium": "Memory"}}, {"name": "disk", "emptyDir": {}}]);
    full["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "mem", "mountPath": "/mem"}, {"name": "disk", "mountPath": "/disk"}]);
    full["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "32Mi", "cpu": "500m"}});
    format!("{full}\n{}", replicated("apps/v1", "Deployment", "web", 2))
}

/// SIGKILL for the server and all that lives in the cluster's cgroups, until nothing is left.
fn kill_all(scene: &Scene, name: &str, server: &str) {
    scene.shell.ok(&format!(
        "kill -9 {server}; for round in 1 2 3 4 5; do \
         for pid in $(find /sys/fs/cgroup -path '*knarr-{name}*' -name cgroup.procs -exec cat {{}} +); do kill -9 $pid; done; \
         done 2>/dev/null; timeout 30 tail --pid={server} -f /dev/null"
    ));
}

/// The slot the cluster got: the digit after `knarr` in its bridge's name.
pub fn slot(scene: &Scene, name: &str) -> String {
    let claim = fs::read_to_string(format!("/run/knarr/{name}/claim.json")).expect("a claim");
    scene.shell.run_with("sed 's/.*\"slot\":\\([0-9]*\\).*/\\1/'", Some(&claim)).out.trim().to_owned()
}

fn all_killed(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("gone", 1);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    sh.apply(&furnished());
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s && kubectl rollout status deployment/web --timeout=60s");
    let slot = slot(scene, cluster.name());
    let server = cluster.server_pid().expect("the server's process");
    let before = traces(scene, cluster.name(), &slot);
    for kind in [
        &server,
        "\nknarr\n",
        "tmpfs",
        "nsfs",
        "/sys/fs/cgroup",
        &format!("knarr{slot}n0"),
        "table ip",
        ".kubeconfig",
    ] {
        assert!(before.contains(kind), "{kind} is missing in\n{before}");
    }
    kill_all(scene, cluster.name(), &server);
    // By its name alone, as a user would after a crash.
    let said = sh.ok(&format!("knarr down --name {}", cluster.name()));
    assert_eq!(said, format!("cluster {:?} was not running; nothing of it is left\n", cluster.name()));
    assert_eq!(traces(scene, cluster.name(), &slot), "");
    assert!(cluster.data_dir().join("cluster.json").exists(), "the data stays");
    cluster.take_down().expect("taking it down again does no harm");
}

fn comes_again(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("again", 1);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    sh.apply(&furnished());
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s && kubectl rollout status deployment/web --timeout=60s");
    sh.ok("kubectl exec full -- sh -c 'echo kept > /disk/file'");
    let server = cluster.server_pid().expect("the server's process");
    kill_all(scene, cluster.name(), &server);
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the cluster comes up again");
    sh.ok(
        "kubectl wait pod/full --for=jsonpath='{.status.containerStatuses[0].restartCount}'=1 --timeout=60s",
    );
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s && kubectl rollout status deployment/web --timeout=60s");
    assert_eq!(sh.ok("kubectl exec full -- cat /disk/file"), "kept\n");
    assert_eq!(
        sh.ok(
            "kubectl get pod full -o jsonpath='{.status.containerStatuses[0].lastState.terminated.exitCode}'"
        ),
        "137"
    );
    // Down and up: what the runtime knew is gone, what the API knows is not.
    cluster.knarr(&["down"]).expect("down");
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("up");
    sh.ok(
        "kubectl wait pod/full --for=jsonpath='{.status.containerStatuses[0].restartCount}'=2 --timeout=60s",
    );
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    assert_eq!(sh.ok("kubectl exec full -- cat /disk/file"), "kept\n");
    let address = sh
        .ok("kubectl get pod -o jsonpath='{range .items[*]}{.status.podIP}{\"\\n\"}{end}' | sort | uniq -d");
    assert_eq!(address, "", "no address is given twice");
}

fn side_by_side(scene: &Scene) {
    let (other, there) = scene.own_cluster("twin", 1);
    let here = &scene.shell;
    there.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    for sh in [here, &there] {
        sh.apply(&pod("same", STAY).to_string());
        sh.ok("kubectl wait --for=condition=Ready pod/same --timeout=60s");
    }
    let address = |sh: &testing::Shell| sh.ok("kubectl get pod same -o jsonpath={.status.podIP}");
    assert_ne!(address(here), address(&there), "each has addresses of its own");
    let server =
        |sh: &testing::Shell| sh.ok("kubectl config view --minify -o jsonpath={.clusters[0].cluster.server}");
    assert_ne!(server(here), server(&there));
    there.ok("kubectl delete pod same");
    assert_eq!(here.ok("kubectl get pod same -o jsonpath={.status.phase}"), "Running");
    // A second data directory under the same name is a mistake, not a second cluster.
    let wrong =
        here.fails(&format!("knarr up --no-kubeconfig --name {} --data-dir /nowhere/else", other.name()));
    assert!(
        wrong.contains(&format!("cluster {:?} of this machine keeps its data in", other.name())),
        "{wrong}"
    );
    // Who comes while the twin is stopped leaves its place to it.
    other.knarr(&["down"]).expect("the twin stops");
    let (third, _) = scene.own_cluster("third", 0);
    other.knarr(&["up", "--no-kubeconfig"]).expect("the twin comes back beside the third");
    third.take_down().expect("the third goes");
    let twin = other.name().to_owned();
    let slot = slot(scene, &twin);
    other.take_down().expect("the twin goes");
    assert_eq!(traces(scene, &twin, &slot), "");
    here.ok("kubectl exec same -- true");
    assert_eq!(here.ok("kubectl get pod same -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    here.ok("kubectl delete pod same");
}
