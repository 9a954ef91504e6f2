//! A scheduler with several profiles, on nodes that are objects alone: no machine runs the pods that are bound.

use std::fs;

use serde_json::json;
use testing::Shell;

use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w121d_profiles_decide_about_pods_by_rules_of_their_own", w121d)];

const CONFIGURATION: &str = "
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
parallelism: 2
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}}
  - name: PodTopologySpread
    args: {defaultingType: List}
";

/// A node without a machine.
pub fn node(sh: &Shell, name: &str) {
    let amounts = json!({"cpu": "8", "memory": "16Gi", "pods": "50"});
    sh.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}).to_string());
    let patch = json!({"status": {"capacity": amounts, "allocatable": amounts}});
    sh.ok(&format!("kubectl patch node {name} --subresource=status --type=merge -p '{patch}'"));
}

/// The nodes that `count` pods of a Deployment got, and how many each.
fn placed(sh: &Shell, name: &str, scheduler: &str, count: usize) -> String {
    let container =
        json!({"name": "c", "image": "x", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": count, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"schedulerName": scheduler, "tolerations": [{"operator": "Exists"}], "containers": [container]},
        }},
    });
    sh.apply(&deployment.to_string());
    for at in 0..count {
        let path = format!("{{.items[{at}].spec.nodeName}}");
        sh.ok(&format!(
            "until [ -n \"$(kubectl get pods -l app={name} -o jsonpath='{path}' 2>/dev/null)\" ]; do :; done"
        ));
    }
    sh.ok(&format!("kubectl get pods -l app={name} -o jsonpath='{{range .items[*]}}{{.spec.nodeName}}{{\"\\n\"}}{{end}}' | sort | uniq -c | tr -s ' ' | tr '\\n' ','"))
}

fn w121d(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("prof", 0);
    let path = cluster.data_dir().join("scheduler.yaml");
    let up = |text: &str| {
        fs::write(&path, text).expect("a file");
        cluster.knarr(&["down"]).expect("down");
        let flag = format!("--scheduler-config={}", path.display());
        cluster.knarr(&["up", "--no-kubeconfig", "--nodes=0", &flag]).map_err(|why| why.to_string())
    };
    let refused = up(&format!("{CONFIGURATION}- {{schedulerName: packing}}\n")).expect_err("two of one name");
    let expected = "profiles[2].schedulerName: Duplicate value: \"profiles[1].schedulerName\"";
    assert!(refused.contains(expected) && refused.contains("scheduler.yaml"), "{refused}");
    up(CONFIGURATION).expect("up with profiles");

    node(&sh, "one");
    node(&sh, "two");
    // By default pods are spread among those of their Deployment, also where another node has more room.
    sh.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "large"},
        "spec": {"nodeName": "one", "containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "2", "memory": "4Gi"}}}]},
    }).to_string());
    assert_eq!(placed(&sh, "spread", "default-scheduler", 4), " 2 one, 2 two,");
    assert_eq!(placed(&sh, "packed", "packing", 4), " 4 one,");
    let source = "jsonpath='{.items[0].source.component} {.items[0].reportingComponent}'";
    let of = |name: &str| {
        sh.ok(&format!("kubectl get events --field-selector reason=Scheduled,involvedObject.name=$(kubectl get pods -l app={name} -o jsonpath='{{.items[0].metadata.name}}') -o {source}"))
    };
    assert_eq!([of("packed"), of("spread")], ["packing packing", "default-scheduler default-scheduler"]);
    sh.ok("kubectl delete deployment spread packed && kubectl delete pod --all --force --grace-period=0");
    cluster.take_down().expect("nothing stays behind");
}
