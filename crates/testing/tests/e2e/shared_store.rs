//! Several servers on one etcd, of which some are killed.

use std::fs;

use etcd::testing::Cluster as Members;
use serde_json::json;
use testing::Cluster;

use crate::manifests::kubia;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w001s_servers_share_an_etcd_and_go_on_without_one_of_each", shared)];

fn shared(scene: &Scene) {
    let fixtures = &scene.cluster().fixtures;
    let mut members = Members::start(3, None).expect("three members of etcd");
    let first = Cluster::sharing(fixtures, "onea", 0, &members.urls(), None).expect("the first server");
    // Without the first server's keys there is nothing to share.
    let stranger =
        Cluster::sharing(fixtures, "oneb", 0, &members.urls(), None).err().expect("refused").to_string();
    assert!(stranger.contains("copy ca.crt, ca.key"), "{stranger}");
    let second =
        Cluster::sharing(fixtures, "oneb", 1, &members.urls(), Some(&first)).expect("the second server");
    let kubectl = &fixtures.kubectls()[0];
    let shell = |cluster: &Cluster| cluster.shell(kubectl, &scene.transcript).expect("a terminal");
    let (on_first, on_second) = (shell(&first), shell(&second));

    on_first.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "kubia"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "kubia"}}, "template": {
            "metadata": {"labels": {"app": "kubia"}}, "spec": kubia("kubia")["spec"],
        }},
    });
    on_first.apply(&deployment.to_string());
    on_second.ok("kubectl rollout status deployment/kubia --timeout=60s");
    on_second.ok("kubectl create configmap before --from-literal=a=1");
    let held = on_first.ok("kubectl get leases -n kube-system -o jsonpath={.items[*].metadata.name}");
    assert_eq!(held, "kube-controller-manager kube-scheduler");

    on_first.ok(&format!("kill -9 {}", first.server_pid().expect("a server")));
    members.members[0].kill();
    on_second.ok("kubectl create configmap during --from-literal=a=1");
    on_second.ok("kubectl scale deployment kubia --replicas=4");
    // The other server leads once the lease has run out.
    on_second.ok("kubectl wait deployment/kubia --for=jsonpath={.status.readyReplicas}=4 --timeout=90s");

    members.members[0].start().expect("the member comes back");
    first.knarr(&["up", "--no-kubeconfig"]).expect("the server comes back to its store");
    let maps = on_first.ok("kubectl get configmaps before during -o name");
    assert_eq!(maps, "configmap/before\nconfigmap/during\n");
    assert_eq!(on_first.ok("kubectl get pods -o name").lines().count(), 4);
    let health = on_first.ok("kubectl get --raw /readyz?verbose");
    assert!(health.contains("[+]etcd ok"), "{health}");
    assert!(!fs::exists(first.data_dir().join("store.redb")).expect("a look"), "nothing is kept beside etcd");
    second.take_down().expect("nothing of it is left");
    first.take_down().expect("nothing of it is left");
}
