//! Section F: stateful sets: W106, its parts a trial each.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, container, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w106_stateful_pods_have_names_and_roll_out_and_back", w106),
    ("w106a_scaling_is_ordered_and_halts_at_unhealthy_pods", w106_scaling),
    ("w106b_pods_in_parallel_wait_for_nobody", w106_parallel),
    ("w106c_claims_are_made_and_kept_by_policy", w106_claims),
    ("w106d_failed_pods_are_made_again_and_orphans_adopted", w106_again),
    ("w106e_statuses_are_patched_and_collections_deleted", w106_status),
];

/// A pod is ready as long as nobody makes the file `/tmp/broken` in it.
const BREAK: &str = "touch /tmp/broken";
const MEND: &str = "rm /tmp/broken";

/// A stateful set of busybox pods that stay; `VERSION` tells one revision from another.
fn stateful(name: &str, replicas: u32) -> Value {
    let mut made = replicated("apps/v1", "StatefulSet", name, replicas);
    let mut main = container("main", STAY);
    main["env"] = json!([{"name": "VERSION", "value": "1"}]);
    main["readinessProbe"] =
        json!({"exec": {"command": ["test", "!", "-e", "/tmp/broken"]}, "periodSeconds": 1});
    made["spec"]["template"]["spec"]["containers"] = json!([main]);
    made["spec"]["serviceName"] = name.into();
    made
}

fn rolled_out(sh: &Shell, name: &str) -> String {
    sh.ok(&format!("kubectl rollout status statefulset/{name} --timeout=120s"))
}

fn names(sh: &Shell) -> String {
    sh.ok("kubectl get pods -o jsonpath={.items[*].metadata.name}")
}

fn versions(sh: &Shell) -> String {
    sh.ok("kubectl get pods -l app=web -o jsonpath={.items[*].spec.containers[0].env[0].value}")
}

fn status(sh: &Shell, fields: &[&str]) -> Vec<String> {
    let paths: String = fields.iter().map(|field| format!("{{.status.{field}}},")).collect();
    let text = sh.ok(&format!("kubectl get statefulset web -o jsonpath='{paths}'"));
    text.trim_end_matches(',').split(',').map(str::to_owned).collect()
}

fn w106(scene: &Scene) {
    let sh = &scene.shell;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]}
    });
    let said = sh.apply(&format!("{service}\n{}", stateful("web", 3)));
    assert!(!said.contains("Warning"), "{said}");
    let mut watch = sh.start("kubectl get pods -l app=web -w --output-watch-events --no-headers");
    assert!(rolled_out(sh, "web").contains("partitioned roll out complete: 3 new pods have been updated..."));
    assert_eq!(names(sh), "web-0 web-1 web-2");
    // Each came once the one before it was ready.
    watch.wait_until("the last pod", |line| line.contains("web-2") && line.contains("1/1"));
    let lines = watch.seen();
    let first = |what: &dyn Fn(&str) -> bool| lines.iter().position(|line| what(line)).unwrap_or(usize::MAX);
    for (before, after) in [("web-0", "web-1"), ("web-1", "web-2")] {
        let ready = first(&|line| line.contains(before) && line.contains("1/1"));
        assert!(ready < first(&|line| line.contains(after)), "{after} is early in {lines:#?}");
    }
    // Names, hosts and addresses that stay.
    assert_eq!(sh.ok("kubectl exec web-1 -- hostname"), "web-1\n");
    let namespace = &scene.namespace;
    let address = sh.ok("kubectl get pod web-1 -o jsonpath={.status.podIP}");
    let asked = format!("kubectl exec web-0 -- nslookup web-1.web.{namespace}.svc.cluster.local");
    assert!(sh.ok(&asked).contains(&address), "the name leads to {address}");
    let labels = sh.ok("kubectl get pod web-1 -o jsonpath={.metadata.labels}");
    let labels: Value = serde_json::from_str(&labels).expect("labels");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-1");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    let revisions = status(sh, &["currentRevision", "updateRevision", "readyReplicas", "availableReplicas"]);
    assert_eq!(labels["controller-revision-hash"].as_str(), Some(&*revisions[0]));
    assert!(revisions[0] == revisions[1] && revisions[2..] == ["3", "3"], "{revisions:?}");
    let table = sh.ok("kubectl get statefulsets");
    assert!(table.split_whitespace().take(5).eq("NAME READY AGE web 3/3".split(' ')), "{table}");
    w106_updates(sh, &revisions[0]);
    let told = sh.ok("kubectl describe statefulset web");
    for line in [
        "SuccessfulCreate  create Pod web-0 in StatefulSet web successful",
        "SuccessfulDelete  delete Pod web-2 in StatefulSet web successful",
    ] {
        let squeezed = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(line.split_once("  ").expect("two parts").1), "{told}");
    }
}

/// A canary by partition, then all; back by `undo`, which makes no new revision; a restart.
fn w106_updates(sh: &Shell, first: &str) {
    let partition = |n: u32| {
        let patch = format!(r#"{{"spec":{{"updateStrategy":{{"rollingUpdate":{{"partition":{n}}}}}}}}}"#);
        sh.ok(&format!("kubectl patch statefulset web -p '{patch}'"));
    };
    partition(2);
    sh.ok("kubectl set env statefulset/web VERSION=2");
    assert!(rolled_out(sh, "web").contains("partitioned roll out complete: 1 new pods have been updated..."));
    assert_eq!(versions(sh), "1 1 2");
    let figures = status(sh, &["currentReplicas", "updatedReplicas", "currentRevision", "updateRevision"]);
    assert_eq!(&figures[..3], ["2", "1", first]);
    assert_ne!(figures[3], first);
    // A pod that is lost meanwhile comes back on its own side of the partition.
    sh.ok("kubectl delete pod web-0 web-2");
    sh.ok("kubectl wait statefulset/web --for=jsonpath={.status.readyReplicas}=3 --timeout=60s");
    assert_eq!(versions(sh), "1 1 2");
    partition(0);
    rolled_out(sh, "web");
    assert_eq!(versions(sh), "2 2 2");
    let done = status(sh, &["currentRevision", "updateRevision"]);
    assert_eq!(done[0], done[1]);
    let history = sh.ok("kubectl rollout history statefulset/web");
    assert!(
        history.split_whitespace().collect::<Vec<_>>().join(" ").ends_with("1 <none> 2 <none>"),
        "{history}"
    );
    assert!(sh.ok("kubectl rollout history statefulset/web --revision=1").contains("VERSION:\t1"));

    let before = sh.ok("kubectl get pod web-0 -o jsonpath={.metadata.uid}");
    assert_eq!(sh.ok("kubectl rollout undo statefulset/web"), "statefulset.apps/web rolled back\n");
    rolled_out(sh, "web");
    assert_eq!(versions(sh), "1 1 1");
    assert_ne!(sh.ok("kubectl get pod web-0 -o jsonpath={.metadata.uid}"), before);
    assert_eq!(status(sh, &["updateRevision"]), [first], "the revision of old is in use again");
    let numbers =
        "kubectl get controllerrevisions -l app=web --sort-by=.revision -o jsonpath={.items[*].revision}";
    assert_eq!(sh.ok(numbers), "2 3");
    assert_eq!(sh.ok("kubectl rollout restart statefulset/web"), "statefulset.apps/web restarted\n");
    rolled_out(sh, "web");
    assert_eq!(sh.ok(numbers), "2 3 4");
}

fn w106_scaling(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&stateful("web", 1).to_string());
    rolled_out(sh, "web");
    sh.ok(&format!("kubectl exec web-0 -- {BREAK}"));
    sh.ok("kubectl wait pod/web-0 --for=condition=Ready=False --timeout=30s");
    assert_eq!(sh.ok("kubectl scale statefulset web --replicas=3"), "statefulset.apps/web scaled\n");
    sh.ok("kubectl wait statefulset/web --for=jsonpath={.status.observedGeneration}=2 --timeout=30s");
    assert_eq!(names(sh), "web-0", "the next pod waits for the first to be healthy");
    sh.ok(&format!("kubectl exec web-0 -- {MEND}"));
    rolled_out(sh, "web");
    assert_eq!(names(sh), "web-0 web-1 web-2");
    // Down, too: the highest first, and an unhealthy one not before those below it that are unhealthy.
    for pod in ["web-0", "web-2"] {
        sh.ok(&format!("kubectl exec {pod} -- {BREAK}"));
        sh.ok(&format!("kubectl wait pod/{pod} --for=condition=Ready=False --timeout=30s"));
    }
    let mut watch = sh.start("kubectl get pods -l app=web -w --output-watch-events --no-headers");
    sh.ok("kubectl scale statefulset web --replicas=0");
    sh.ok("kubectl wait statefulset/web --for=jsonpath={.status.observedGeneration}=3 --timeout=30s");
    assert_eq!(names(sh), "web-0 web-1 web-2");
    sh.ok(&format!("kubectl exec web-2 -- {MEND}"));
    sh.ok("kubectl wait pod/web-0 --for=delete --timeout=90s");
    assert_eq!(names(sh), "");
    watch.wait_until("the end", |line| line.starts_with("DELETED") && line.contains("web-0"));
    let deleted = watch.seen().iter().filter(|line| line.starts_with("DELETED"));
    let order: Vec<String> = deleted.filter_map(|l| l.split_whitespace().nth(1).map(str::to_owned)).collect();
    assert_eq!(order, ["web-2", "web-1", "web-0"]);
}

fn w106_parallel(scene: &Scene) {
    let sh = &scene.shell;
    let mut made = stateful("web", 2);
    made["spec"]["podManagementPolicy"] = "Parallel".into();
    made["spec"]["ordinals"] = json!({"start": 3});
    made["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
    sh.apply(&made.to_string());
    rolled_out(sh, "web");
    assert_eq!(names(sh), "web-3 web-4");
    let rolling = sh.ok("kubectl get statefulset web -o jsonpath={.spec.updateStrategy.rollingUpdate}");
    assert_eq!(rolling, r#"{"partition":0}"#, "v1.36 does not serve maxUnavailable");
    sh.ok(&format!("kubectl exec web-3 -- {BREAK}"));
    sh.ok("kubectl wait pod/web-3 --for=condition=Ready=False --timeout=30s");
    sh.ok("kubectl scale statefulset web --replicas=4");
    // One by one: kubectl gives up at once where two are not there yet.
    sh.ok("for it in pod/web-5 pod/web-6; do kubectl wait --for=create $it --timeout=30s || exit 1; done");
    sh.ok("kubectl wait pod/web-6 --for=condition=Ready --timeout=30s");
    sh.ok("kubectl scale statefulset web --replicas=0");
    sh.ok("kubectl wait pod --all --for=delete --timeout=60s");
    // A pod whose deletion is asked for with a status of its own counts no more.
    sh.ok("kubectl wait statefulset/web --for=jsonpath={.status.replicas}=0 --timeout=30s");
    let scale = "kubectl get --raw /apis/apps/v1/namespaces/w106b/statefulsets/web/scale";
    let scale: Value = serde_json::from_str(&sh.ok(scale)).expect("a scale");
    assert_eq!((&scale["kind"], &scale["spec"]), (&json!("Scale"), &json!({})));
    assert_eq!(scale["status"]["selector"], "app=web");
}

fn w106_claims(scene: &Scene) {
    let sh = &scene.shell;
    let mut made = stateful("web", 2);
    made["spec"]["podManagementPolicy"] = "Parallel".into();
    made["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    made["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "www", "annotations": {"a": "b"}},
        // Nobody provisions this class: what happens to the claims is all that is looked at.
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "nobodys", "resources": {"requests": {"storage": "1Mi"}}}
    }]);
    sh.apply(&made.to_string());
    // One by one: kubectl gives up at once where two are not there yet.
    sh.ok("for it in pod/web-0 pod/web-1 pvc/www-web-0 pvc/www-web-1; do kubectl wait --for=create $it --timeout=30s || exit 1; done");
    let claims = "kubectl get pvc -l app=web -o jsonpath='{range .items[*]}{.metadata.name}={.metadata.ownerReferences[*].kind} {end}'";
    assert_eq!(sh.ok(claims), "www-web-0=StatefulSet www-web-1=StatefulSet ");
    let volume = sh.ok("kubectl get pod web-1 -o jsonpath={.spec.volumes[0]}");
    assert_eq!(volume, r#"{"name":"www","persistentVolumeClaim":{"claimName":"www-web-1"}}"#);
    let told = sh.ok("kubectl describe statefulset web");
    assert!(told.contains("create Claim www-web-0 Pod web-0 in StatefulSet web success"), "{told}");
    // What is scaled away goes with its pod; what stays has the owners of the policy.
    sh.ok("kubectl scale statefulset web --replicas=1");
    sh.ok("kubectl wait pvc/www-web-1 --for=delete --timeout=60s");
    assert_eq!(sh.ok(claims), "www-web-0=StatefulSet ");
    sh.ok(r#"kubectl patch statefulset web -p '{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain"}}}'"#);
    sh.ok("timeout 30 bash -c 'until [ -z \"$(kubectl get pvc www-web-0 -o jsonpath={.metadata.ownerReferences})\" ]; do sleep 0.2; done'");
    sh.ok("kubectl delete statefulset web");
    sh.ok("kubectl wait pod --all --for=delete --timeout=60s");
    assert_eq!(sh.ok(claims), "www-web-0= ");
}

fn w106_again(scene: &Scene) {
    let sh = &scene.shell;
    // A pod that the node refuses, because another has its port, is made again until it fits.
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let port = json!([{"containerPort": 21017, "hostPort": 21017}]);
    let mut holder = pod("holder", STAY);
    holder["spec"]["nodeName"] = node.clone().into();
    holder["spec"]["containers"][0]["ports"] = port.clone();
    sh.apply(&holder.to_string());
    sh.ok("kubectl wait pod/holder --for=condition=Ready --timeout=60s");
    let mut made = stateful("web", 1);
    made["spec"]["template"]["spec"]["nodeName"] = node.into();
    made["spec"]["template"]["spec"]["containers"][0]["ports"] = port;
    let mut watch = sh.start("kubectl get pods -l app=web -w --output-watch-events --no-headers");
    sh.apply(&made.to_string());
    for _ in 0..2 {
        watch.wait_until("its end", |line| line.starts_with("DELETED") && line.contains("web-0"));
    }
    sh.ok("kubectl delete pod holder --now");
    rolled_out(sh, "web");
    sh.ok("kubectl wait pod/web-0 --for=condition=Ready --timeout=30s");
    // Orphaned, the pod is adopted again.
    let uid = sh.ok("kubectl get pod web-0 -o jsonpath={.metadata.uid}");
    sh.ok("kubectl delete statefulset web --cascade=orphan");
    sh.ok("timeout 30 bash -c 'until [ -z \"$(kubectl get pod web-0 -o jsonpath={.metadata.ownerReferences})\" ]; do sleep 0.2; done'");
    sh.apply(&made.to_string());
    rolled_out(sh, "web");
    assert_eq!(sh.ok("kubectl get pod web-0 -o jsonpath={.metadata.uid}"), uid);
    assert_eq!(sh.ok("kubectl get pod web-0 -o jsonpath={.metadata.ownerReferences[0].name}"), "web");
    // Released by its label, its place is another pod's as soon as the name is free.
    sh.ok("kubectl label pod web-0 app-");
    sh.ok("timeout 30 bash -c 'until [ -z \"$(kubectl get pod web-0 -o jsonpath={.metadata.ownerReferences})\" ]; do sleep 0.2; done'");
    sh.ok("kubectl delete pod web-0");
    sh.ok("kubectl wait --for=create pod/web-0 --timeout=60s");
    assert_ne!(sh.ok("kubectl get pod web-0 -o jsonpath={.metadata.uid}"), uid);
}

fn w106_status(scene: &Scene) {
    let sh = &scene.shell;
    let labelled = |name: &str| {
        let mut made = stateful(name, 1);
        made["metadata"]["labels"] = json!({"of": "w106e"});
        made.to_string()
    };
    sh.apply(&format!("{}\n{}", labelled("web"), labelled("other")));
    rolled_out(sh, "web");
    let mut watch = sh.start(
        "kubectl get statefulset web -w --no-headers -o custom-columns=C:.status.conditions[*].type,R:.status.readyReplicas",
    );
    watch.wait_for("1");
    let condition = r#"{"status":{"conditions":[{"type":"StatusPatched","status":"True"}]}}"#;
    sh.ok(&format!("kubectl patch statefulset web --subresource=status --type=merge -p '{condition}'"));
    watch.wait_for("StatusPatched");
    let refused = sh.fails(r#"kubectl patch statefulset web --subresource=status --type=merge -p '{"status":{"readyReplicas":7}}'"#);
    assert!(
        refused.contains("status.readyReplicas: Invalid value: 7: cannot be greater than status.replicas"),
        "{refused}"
    );
    sh.ok(r#"kubectl patch statefulset web --subresource=scale --type=merge -p '{"spec":{"replicas":2}}'"#);
    rolled_out(sh, "web");
    assert_eq!(status(sh, &["conditions[0].type", "readyReplicas"]), ["StatusPatched", "2"]);

    // Revisions are objects as others: labelled, patched, made again when somebody deletes them; their data stays.
    let revision =
        sh.ok("kubectl get controllerrevisions -l app=other -o jsonpath={.items[0].metadata.name}");
    sh.ok(&format!("kubectl label controllerrevision {revision} seen=yes"));
    let refused = sh.fails(&format!(
        "kubectl patch controllerrevision {revision} --type=merge -p '{{\"data\":{{\"spec\":null}}}}'"
    ));
    assert!(refused.contains("field is immutable"), "{refused}");
    let uid = format!("kubectl get controllerrevision {revision} -o jsonpath={{.metadata.uid}}");
    let before = sh.ok(&uid);
    sh.ok(&format!("kubectl delete controllerrevision {revision}"));
    sh.ok(&format!("kubectl wait --for=create controllerrevision/{revision} --timeout=30s"));
    assert_ne!(sh.ok(&uid), before);
    assert!(sh.ok("kubectl get statefulsets -l of=w106e -o name").lines().count() == 2);
    sh.ok("kubectl delete statefulsets -l of=w106e");
    sh.ok("kubectl wait pod --all --for=delete --timeout=60s");
    assert_eq!(sh.ok("kubectl get controllerrevisions -o name"), "");
}
