//! The past: objects as they were, what became of them, and what was deleted made anew.

use serde_json::json;

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w150_the_past_is_read_and_brought_back", w150)];

fn w150(scene: &Scene) {
    let sh = &scene.shell;
    let shop = format!("{}-shop", scene.namespace);
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": pod("x", STAY)["spec"]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": shop},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": shop},
        "data": {"a": "one"}});
    sh.ok(&format!("kubectl create namespace {shop}"));
    sh.apply(&format!("{deployment}\n{config}"));
    sh.ok(&format!("kubectl rollout status deploy/web -n {shop} --timeout=60s"));
    let before = sh.ok(&format!("kubectl get deploy web -n {shop} -o jsonpath={{.metadata.uid}}"));
    sh.ok(&format!("kubectl patch configmap c -n {shop} --type=merge -p '{{\"data\":{{\"a\":\"two\"}}}}'"));

    let history = sh.ok(&format!("knarr history configmap c -n {shop}"));
    assert!(history.contains("created by kubectl"), "{history}");
    assert!(history.contains("changed by kubectl-patch\n    data.a: one → two\n"), "{history}");
    let times = sh.ok(&format!("knarr history configmap c -n {shop} -o jsonpath='{{.versions[*].time}}'"));
    let created = times.split(' ').next_back().expect("two times").to_owned();
    let then =
        sh.ok(&format!("knarr kubectl get configmap c -n {shop} --at {created} -o jsonpath={{.data.a}}"));
    assert_eq!(then, "one");
    let diff = sh.run(&format!("knarr diff configmap c -n {shop} --at {created}"));
    assert_eq!(diff.code, 1, "{}", diff.out);
    assert!(diff.out.contains("-  a: one\n+  a: two\n"), "{}", diff.out);

    sh.ok(&format!("kubectl delete namespace {shop} --timeout=60s"));
    let told = sh.ok(&format!("knarr undelete namespace {shop}"));
    for made in [format!("namespace/{shop}"), "configmap/c".to_owned(), "deployment.apps/web".to_owned()] {
        assert!(told.contains(&format!("{made} undeleted\n")), "{made} is missing in\n{told}");
    }
    assert!(!told.contains("pod/"), "the controllers make the pods:\n{told}");
    sh.ok(&format!("kubectl rollout status deploy/web -n {shop} --timeout=60s"));
    assert_eq!(sh.ok(&format!("kubectl get configmap c -n {shop} -o jsonpath={{.data.a}}")), "two");
    let after = sh.ok(&format!("kubectl get deploy web -n {shop} -o jsonpath={{.metadata.uid}}"));
    assert_ne!(before, after, "a new object");
    let again = sh.run(&format!("knarr undelete namespace {shop}"));
    assert_eq!(again.err.trim(), format!("error: namespaces \"{shop}\" is there: nothing was deleted"));
    sh.ok(&format!("kubectl delete namespace {shop} --timeout=60s"));
}
