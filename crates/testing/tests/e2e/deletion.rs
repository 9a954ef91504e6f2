//! Section F: owners and what is deleted with them: W111, and what a killed server goes on with.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, container, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w111_owned_objects_go_with_their_owner_or_stay", w111),
    ("w111a_owners_wait_for_what_they_own", w111_foreground),
    ("w111b_finalizers_hold_objects_and_namespaces", w111_finalizers),
    ("w111c_a_killed_server_goes_on_with_rollouts_and_deletions", w111_restart),
];

fn map(name: &str, owners: &[(&str, &str)]) -> Value {
    let owners: Vec<Value> = owners
        .iter()
        .map(|(name, uid)| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true
            })
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": owners}
    })
}

fn uid(sh: &Shell, what: &str) -> String {
    sh.ok(&format!("kubectl get {what} -o jsonpath={{.metadata.uid}}"))
}

/// Makes a map and gives its uid.
fn owner(sh: &Shell, name: &str) -> String {
    sh.apply(&map(name, &[]).to_string());
    uid(sh, &format!("configmap/{name}"))
}

/// A deployment whose pods take their whole grace period to end.
fn slow(name: &str, replicas: u32, grace_s: u32) -> Value {
    let mut made = replicated("apps/v1", "Deployment", name, replicas);
    made["spec"]["template"]["spec"] = json!({
        "terminationGracePeriodSeconds": grace_s,
        "containers": [container("main", "trap '' TERM; while :; do sleep 1; done")]
    });
    made
}

fn w111(scene: &Scene) {
    let sh = &scene.shell;
    let (a, b) = (owner(sh, "a"), owner(sh, "b"));
    let all = [map("of-a", &[("a", &a)]), map("of-both", &[("a", &a), ("b", &b)]), map("of-of-a", &[])];
    sh.apply(&all.map(|one| one.to_string()).join("\n"));
    let of_a = uid(sh, "configmap/of-a");
    sh.apply(&map("of-of-a", &[("of-a", &of_a)]).to_string());
    // An owner that never was is one that is gone.
    let none = "11111111-2222-3333-4444-555555555555";
    sh.file("lost.yaml", &map("lost", &[("nobody", none)]).to_string());
    sh.ok("kubectl create -f lost.yaml && kubectl wait --for=delete configmap/lost --timeout=30s");

    sh.ok("kubectl delete configmap a");
    sh.ok("kubectl wait --for=delete configmap/of-a configmap/of-of-a --timeout=30s");
    let left = "kubectl get configmap of-both -o jsonpath={.metadata.ownerReferences[*].name}";
    sh.ok(
        "kubectl wait configmap/of-both --for=jsonpath={.metadata.ownerReferences[0].name}=b --timeout=30s",
    );
    assert_eq!(sh.ok(left), "b", "one owner is left");
    sh.ok("kubectl delete configmap b --cascade=orphan");
    assert_eq!(sh.ok(left), "", "an orphan has no owner");

    // A deployment's sets and pods, left behind and taken over.
    let mut web = replicated("apps/v1", "Deployment", "web", 2);
    web["spec"]["template"]["spec"]["containers"] = json!([container("main", STAY)]);
    sh.file("web.yaml", &web.to_string());
    sh.ok("kubectl create -f web.yaml && kubectl rollout status deployment/web --timeout=60s");
    let names = || sh.ok("kubectl get rs,pods -l app=web -o name");
    let before = names();
    sh.ok("kubectl delete deployment web --cascade=orphan");
    assert_eq!(names(), before);
    let owners = "kubectl get rs -l app=web -o jsonpath={.items[*].metadata.ownerReferences[*].name}";
    assert_eq!(sh.ok(owners), "");
    sh.ok("kubectl create -f web.yaml && kubectl rollout status deployment/web --timeout=60s");
    assert_eq!(sh.ok(owners), "web", "the new deployment adopts the set of its template");
    assert_eq!(names(), before);
    sh.ok("kubectl delete deployment web");
    sh.ok("kubectl wait --for=delete rs,pods -l app=web --timeout=60s");

    // An owner of another namespace is none.
    let elsewhere = uid(sh, "configmap/kube-root-ca.crt -n default");
    sh.file("foreign.yaml", &map("foreign", &[("kube-root-ca.crt", &elsewhere)]).to_string());
    let mut events = sh.start("kubectl get events -w -o custom-columns=R:.reason --no-headers");
    sh.ok("kubectl create -f foreign.yaml && kubectl wait --for=delete configmap/foreign --timeout=30s");
    events.wait_for("OwnerRefInvalidNamespace");
}

fn w111_foreground(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&slow("web", 2, 5).to_string());
    sh.ok("kubectl rollout status deployment/web --timeout=60s");
    sh.ok("kubectl delete deployment web --cascade=foreground --wait=false");
    let waiting = "'{.metadata.finalizers} {.metadata.deletionTimestamp}'";
    let told = sh.ok(&format!("kubectl get deployment web -o jsonpath={waiting}"));
    assert!(told.starts_with(r#"["foregroundDeletion"] 20"#), "{told}");
    sh.ok("kubectl wait rs -l app=web --for=jsonpath={.metadata.finalizers[0]}=foregroundDeletion --timeout=20s");
    assert_eq!(sh.ok("kubectl get pods -l app=web -o name").lines().count(), 2, "pods end in their own time");
    sh.ok("kubectl wait --for=delete deployment/web --timeout=60s");
    assert_eq!(sh.ok("kubectl get rs,pods -l app=web -o name"), "", "the owner is the last");

    // What does not block is not waited for.
    let a = owner(sh, "a");
    let mut held = map("held", &[("a", &a)]);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    held["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = false.into();
    sh.apply(&held.to_string());
    sh.ok("kubectl delete configmap a --cascade=foreground --timeout=30s");
    sh.ok(
        "kubectl wait configmap/held --for=jsonpath='{.metadata.deletionGracePeriodSeconds}'=0 --timeout=20s",
    );
    sh.ok("kubectl patch configmap held --type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}]'");
    sh.ok("kubectl wait --for=delete configmap/held --timeout=20s");
}

fn w111_finalizers(scene: &Scene) {
    let sh = &scene.shell;
    let mut held = map("held", &[]);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    sh.file("held.yaml", &held.to_string());
    sh.ok("kubectl create -f held.yaml && kubectl delete configmap held --wait=false");
    assert_ne!(sh.ok("kubectl get configmap held -o jsonpath={.metadata.deletionTimestamp}"), "");
    let again = sh.fails("kubectl create -f held.yaml");
    assert!(again.contains("object is being deleted: configmaps \"held\" already exists"), "{again}");
    let more = r#"'{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}'"#;
    let refused = sh.fails(&format!("kubectl patch configmap held --type=merge -p {more}"));
    assert!(refused.contains("no new finalizers can be added if the object is being deleted"), "{refused}");
    sh.ok(r#"kubectl patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}'"#);
    assert!(sh.fails("kubectl get configmap held").contains("not found"));

    // A precondition that does not hold.
    let a = owner(sh, "a");
    let path = format!("/api/v1/namespaces/{}/configmaps/a", scene.namespace);
    let delete = |uid: &str| {
        sh.file("options.json", &json!({"preconditions": {"uid": uid}}).to_string());
        sh.run(&format!("kubectl delete --raw {path} -f options.json"))
    };
    let refused = delete("other");
    assert!(
        refused.err.contains("the UID in the precondition (other) does not match the UID in record"),
        "{}",
        refused.told("refuses")
    );
    assert_eq!(delete(&a).code, 0);

    let doomed = "w111b-doomed";
    sh.ok(&format!("kubectl create namespace {doomed} && kubectl create -n {doomed} -f held.yaml"));
    sh.ok(&format!("kubectl create configmap -n {doomed} free --from-literal=a=b"));
    sh.ok(&format!("kubectl delete namespace {doomed} --wait=false"));
    sh.ok(&format!(
        "kubectl wait namespace/{doomed} --for=condition=NamespaceFinalizersRemaining --timeout=30s"
    ));
    assert_eq!(
        sh.ok(&format!("kubectl get namespace {doomed} -o jsonpath={{.status.phase}}")),
        "Terminating"
    );
    let message = "'{.status.conditions[?(@.type==\"NamespaceFinalizersRemaining\")].message}'";
    assert_eq!(
        sh.ok(&format!("kubectl get namespace {doomed} -o jsonpath={message}")),
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    let refused = sh.fails(&format!("kubectl create configmap -n {doomed} late --from-literal=a=b"));
    assert!(
        refused.contains(&format!(
            "unable to create new content in namespace {doomed} because it is being terminated"
        )),
        "{refused}"
    );
    sh.ok(&format!(
        r#"kubectl patch configmap -n {doomed} held --type=merge -p '{{"metadata":{{"finalizers":null}}}}'"#
    ));
    sh.ok(&format!("kubectl wait --for=delete namespace/{doomed} --timeout=60s"));
}

fn w111_restart(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("anew", 1);
    let again = || {
        let pid = cluster.server_pid().expect("the server's process");
        sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
        cluster.knarr(&["up", "--no-kubeconfig"]).expect("the cluster comes up again");
    };
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let mut web = slow("web", 5, 1);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    sh.apply(&web.to_string());
    sh.ok("kubectl rollout status deployment/web --timeout=90s");

    // In the middle of a rollout, twice.
    sh.ok("kubectl set env deployment/web VERSION=2");
    for updated in [2, 4] {
        sh.ok(&format!(
            "kubectl wait deployment/web --for=jsonpath={{.status.updatedReplicas}}={updated} --timeout=60s"
        ));
        again();
    }
    sh.ok("kubectl rollout status deployment/web --timeout=90s");
    let sizes = r"kubectl get rs -l app=web --sort-by='{.metadata.annotations.deployment\.kubernetes\.io/revision}' -o jsonpath={.items[*].spec.replicas}";
    assert_eq!(sh.ok(sizes), "0 5");
    let figures = "'{.status.replicas} {.status.updatedReplicas} {.status.availableReplicas}'";
    assert_eq!(sh.ok(&format!("kubectl get deployment web -o jsonpath={figures}")), "5 5 5");

    // In the middle of a deletion that waits for pods, and of one of a whole namespace.
    sh.ok("kubectl create namespace doomed && kubectl wait -n doomed --for=create serviceaccount/default --timeout=30s");
    sh.file("other.yaml", &slow("other", 2, 5).to_string());
    sh.ok("kubectl create -n doomed -f other.yaml && kubectl rollout status -n doomed deployment/other --timeout=60s");
    sh.ok("kubectl delete deployment web --cascade=foreground --wait=false");
    sh.ok("kubectl delete namespace doomed --wait=false");
    again();
    sh.ok("kubectl wait --for=delete deployment/web namespace/doomed --timeout=90s");
    let others = "--field-selector metadata.namespace!=kube-system";
    assert_eq!(sh.ok(&format!("kubectl get deployments,rs,pods -A -o name {others}")), "");
    let sandboxes = cluster.knarr(&["crictl", "pods"]).expect("the list of sandboxes");
    assert_eq!(sandboxes.lines().count(), 1, "nothing is left on the node:\n{sandboxes}");
}
