//! Section F: DaemonSets: W105.

use serde_json::json;
use testing::Shell;

use crate::manifests::{STAY, container, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w105_a_daemon_runs_where_its_selector_says_and_rolls_out", w105)];

fn figures(sh: &Shell) -> String {
    let path = "{.status.desiredNumberScheduled} {.status.currentNumberScheduled} {.status.numberReady}";
    sh.ok(&format!("kubectl get daemonset agent -o jsonpath='{path}'"))
}

fn pod_of(sh: &Shell) -> String {
    sh.ok("kubectl get pods -l app=agent -o jsonpath='{.items[*].metadata.name}'")
}

fn rolled_out(sh: &Shell) {
    let said = sh.ok("kubectl rollout status daemonset/agent --timeout=90s");
    assert!(said.ends_with("daemon set \"agent\" successfully rolled out\n"), "{said}");
}

fn version(sh: &Shell) -> String {
    sh.ok("kubectl get pods -l app=agent -o jsonpath='{.items[*].spec.containers[0].env[0].value}'")
}

fn w105(scene: &Scene) {
    let sh = &scene.shell;
    let node = sh.ok("kubectl get nodes -o jsonpath='{.items[0].metadata.name}'");
    let mut made = replicated("apps/v1", "DaemonSet", "agent", 1);
    made["spec"].as_object_mut().expect("an object").remove("replicas");
    let mut main = container("main", STAY);
    main["env"] = json!([{"name": "VERSION", "value": "1"}]);
    made["spec"]["template"]["spec"]["containers"] = json!([main]);
    made["spec"]["template"]["spec"]["nodeSelector"] = json!({"w105": "yes"});
    let said = sh.apply(&made.to_string());
    assert!(!said.contains("Warning"), "{said}");
    sh.ok("kubectl wait daemonset/agent --for=jsonpath={.status.observedGeneration}=1 --timeout=30s");
    assert_eq!((figures(sh), pod_of(sh)), ("0 0 0".to_owned(), String::new()));

    sh.ok(&format!("kubectl label node {node} w105=yes"));
    sh.ok("kubectl wait daemonset/agent --for=jsonpath={.status.numberReady}=1 --timeout=60s");
    rolled_out(sh);
    let first = pod_of(sh);
    let table = sh.ok("kubectl get daemonset agent");
    let words = "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE agent 1 1 1 1 1 w105=yes";
    assert!(table.split_whitespace().take(16).eq(words.split(' ')), "{table}");
    let affinity = "{.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values[0]}";
    assert_eq!(sh.ok(&format!("kubectl get pod {first} -o jsonpath='{affinity}'")), node);

    // One that is deleted comes back.
    sh.ok(&format!("kubectl delete pod {first}"));
    sh.ok("kubectl wait daemonset/agent --for=jsonpath={.status.numberReady}=1 --timeout=60s");
    sh.ok("timeout 60 sh -c 'until kubectl wait pod -l app=agent --for=condition=Ready --timeout=5s; do sleep 0.2; done'");
    assert_ne!(pod_of(sh), first);

    // A new template replaces the pod, and the old one comes back.
    sh.ok("kubectl set env daemonset/agent VERSION=2");
    rolled_out(sh);
    assert_eq!(version(sh), "2");
    assert_eq!(sh.ok("kubectl rollout undo daemonset/agent"), "daemonset.apps/agent rolled back\n");
    rolled_out(sh);
    assert_eq!(version(sh), "1");
    let history = sh.ok("kubectl rollout history daemonset/agent");
    assert!(
        history.split_whitespace().collect::<Vec<_>>().join(" ").ends_with("2 <none> 3 <none>"),
        "{history}"
    );

    sh.ok(&format!("kubectl label node {node} w105-"));
    sh.ok("kubectl wait daemonset/agent --for=jsonpath={.status.desiredNumberScheduled}=0 --timeout=60s");
    sh.ok("kubectl wait pod -l app=agent --for=delete --timeout=60s");
    sh.ok("kubectl delete daemonset agent");
}
