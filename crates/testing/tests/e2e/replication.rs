//! Section F: replication controllers and replica sets: W100-W103.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{kubia, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w100_a_replication_controller_keeps_its_number", w100),
    ("w101_selectors_must_match_the_template", w101),
    ("w102_a_missing_selector_comes_from_the_template", w102),
    ("w103_replica_sets_select_by_expressions", w103),
];

/// Names of the pods a selector picks that are not on their way out.
fn pods(sh: &Shell, selector: &str) -> Vec<String> {
    let template = "{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}";
    let said = sh.ok(&format!("kubectl get pods -l '{selector}' -o go-template='{template}'"));
    said.split_whitespace().map(str::to_owned).collect()
}

fn all_ready(sh: &Shell, what: &str, number: u32) {
    sh.ok(&format!("kubectl wait {what} --for=jsonpath={{.status.readyReplicas}}={number} --timeout=60s"));
    sh.ok(&format!("kubectl wait {what} --for=jsonpath={{.status.replicas}}={number} --timeout=60s"));
}

/// Types a line and waits until a pod comes that is none of those there.
fn replaced(sh: &Shell, selector: &str, there: &[String], line: &str) {
    let mut watch = sh
        .start(&format!("kubectl get pods -l {selector} -w -o custom-columns=N:.metadata.name --no-headers"));
    for _ in there {
        watch.wait_until("the pods there are", |name| there.iter().any(|one| one == name.trim()));
    }
    sh.ok(line);
    watch.wait_until("another pod", |name| !there.iter().any(|one| one == name.trim()));
}

fn w100(scene: &Scene) {
    let sh = &scene.shell;
    sh.file("rc.yaml", &replicated("v1", "ReplicationController", "kubia", 3).to_string());
    assert_eq!(sh.ok("kubectl create -f rc.yaml"), "replicationcontroller/kubia created\n");
    all_ready(sh, "rc/kubia", 3);
    let table = sh.ok("kubectl get rc");
    assert!(
        table.split_whitespace().take(9).eq("NAME DESIRED CURRENT READY AGE kubia 3 3 3".split(' ')),
        "{table}"
    );
    let wide = sh.ok("kubectl get rc -o wide");
    for column in ["CONTAINERS", "IMAGES", "SELECTOR", "luksa/kubia", "app=kubia"] {
        assert!(wide.contains(column), "{wide}");
    }
    w100_pods_come_and_leave(sh);
    w100_the_template_is_for_new_pods(sh);
    w100_scaling(sh);
    w100_orphans_are_adopted(sh);
}

fn w100_pods_come_and_leave(sh: &Shell) {
    let before = pods(sh, "app=kubia");
    assert!(before.len() == 3 && before.iter().all(|name| name.starts_with("kubia-")), "{before:?}");
    // Later ones add `from w100 namespace`.
    let deleted = sh.ok(&format!("kubectl delete pod {}", before[0]));
    assert!(deleted.starts_with(&format!("pod \"{}\" deleted", before[0])), "{deleted}");
    all_ready(sh, "rc/kubia", 3);
    let after = pods(sh, "app=kubia");
    assert!(after.len() == 3 && !after.contains(&before[0]) && after.contains(&before[1]), "{after:?}");

    // Another label changes nothing; one that the selector asks for does.
    let released = &before[1];
    sh.ok(&format!("kubectl label po {released} env=dev"));
    assert_eq!(pods(sh, "app=kubia"), after);
    let mut events = sh.start("kubectl get events -w -o custom-columns=M:.message --no-headers");
    replaced(sh, "app=kubia", &after, &format!("kubectl label po {released} app=kubia-dev --overwrite"));
    all_ready(sh, "rc/kubia", 3);
    let owners = format!("kubectl get po {released} -o jsonpath={{.metadata.ownerReferences}}");
    assert_eq!(sh.ok(&owners), "", "a pod let go has no owner");
    assert_eq!(pods(sh, "app=kubia").len(), 3);
    assert_eq!(pods(sh, "app=kubia-dev"), std::slice::from_ref(released));

    // A fourth pod that matches is one too many, and the newest goes.
    let mut fourth = kubia("kubia-gpu");
    fourth["metadata"]["labels"] = json!({"app": "kubia", "gpu": "true"});
    sh.apply(&fourth.to_string());
    events.wait_for("Deleted pod: kubia-gpu");
    sh.ok("kubectl wait --for=delete pod/kubia-gpu --timeout=30s");
    assert_eq!(pods(sh, "app=kubia").len(), 3);
    let described = sh.ok("kubectl describe rc kubia");
    for part in [
        "Name:         kubia",
        "Selector:     app=kubia",
        "Replicas:     3 current / 3 desired",
        "Pods Status:  3 Running / 0 Waiting / 0 Succeeded / 0 Failed",
    ] {
        assert!(described.contains(part), "{part:?} is missing in\n{described}");
    }
    for (reason, message) in
        [("SuccessfulCreate", "Created pod: kubia-"), ("SuccessfulDelete", "Deleted pod: kubia-gpu")]
    {
        let told = described.lines().any(|line| {
            line.contains(reason) && line.contains("replication-controller") && line.contains(message)
        });
        assert!(told, "{reason} is missing in\n{described}");
    }
}

fn w100_the_template_is_for_new_pods(sh: &Shell) {
    let before = pods(sh, "app=kubia");
    assert_eq!(
        sh.ok(
            "KUBE_EDITOR=\"sed -i 's,image: luksa/kubia$,image: luksa/kubia:latest,'\" kubectl edit rc kubia"
        ),
        "replicationcontroller/kubia edited\n"
    );
    sh.ok("kubectl wait rc/kubia --for=jsonpath={.spec.template.spec.containers[0].image}=luksa/kubia:latest --timeout=10s");
    assert_eq!(pods(sh, "app=kubia"), before, "pods that run stay as they are");
    let image =
        |name: &str| sh.ok(&format!("kubectl get pod {name} -o jsonpath={{.spec.containers[0].image}}"));
    assert_eq!(image(&before[0]), "luksa/kubia");
    sh.ok(&format!("kubectl delete pod {}", before[0]));
    all_ready(sh, "rc/kubia", 3);
    let new = pods(sh, "app=kubia").into_iter().find(|name| !before.contains(name)).expect("a new pod");
    assert_eq!(image(&new), "luksa/kubia:latest");
}

fn w100_scaling(sh: &Shell) {
    let before = pods(sh, "app=kubia");
    assert_eq!(sh.ok("kubectl scale rc kubia --replicas=10"), "replicationcontroller/kubia scaled\n");
    all_ready(sh, "rc/kubia", 10);
    assert_eq!(sh.ok("kubectl scale rc kubia --replicas=3"), "replicationcontroller/kubia scaled\n");
    all_ready(sh, "rc/kubia", 3);
    assert_eq!(pods(sh, "app=kubia"), before, "the youngest go first");
    let refused = sh.fails("kubectl scale rc kubia --current-replicas=7 --replicas=1");
    assert!(refused.contains("Expected replicas to be 7, was 3"), "{refused}");
}

fn w100_orphans_are_adopted(sh: &Shell) {
    let before = pods(sh, "app=kubia");
    let deleted = sh.ok("kubectl delete rc kubia --cascade=orphan");
    assert!(deleted.starts_with("replicationcontroller \"kubia\" deleted"), "{deleted}");
    assert!(sh.fails("kubectl get rc kubia").contains("replicationcontrollers \"kubia\" not found"));
    assert_eq!(pods(sh, "app=kubia"), before);
    let owners = "kubectl get pods -l app=kubia -o jsonpath='{.items[*].metadata.ownerReferences[*].uid}'";
    assert_eq!(sh.ok(owners), "", "orphans have no owner");
    sh.ok("kubectl create -f rc.yaml");
    all_ready(sh, "rc/kubia", 3);
    assert_eq!(pods(sh, "app=kubia"), before, "the same pods, adopted");
    let uid = sh.ok("kubectl get rc kubia -o jsonpath={.metadata.uid}");
    assert_eq!(sh.ok(owners), [uid.as_str(); 3].join(" "));
    // The old way to say the same.
    let old = sh.run("kubectl delete rc kubia --cascade=false");
    assert!(old.code == 0 && old.err.contains("--cascade=false is deprecated"), "{}", old.told("warns"));
    assert_eq!(pods(sh, "app=kubia"), before);
    sh.ok("kubectl create -f rc.yaml && kubectl wait rc/kubia --for=jsonpath={.status.replicas}=3 --timeout=30s");
    sh.ok("kubectl delete rc kubia");
    for name in before {
        sh.ok(&format!("kubectl wait --for=delete pod/{name} --timeout=60s"));
    }
}

fn w101(scene: &Scene) {
    let mut wrong = replicated("v1", "ReplicationController", "kubia-rc", 3);
    wrong["spec"]["template"]["metadata"]["labels"] = json!({"app": "kubia"});
    for kubectl in scene.cluster().fixtures.kubectls() {
        let sh = scene.shell_with(&kubectl);
        sh.file("rc.yaml", &wrong.to_string());
        let refused = sh.run("kubectl create -f rc.yaml");
        assert_eq!(refused.code, 1);
        assert_eq!(
            refused.err,
            "The ReplicationController \"kubia-rc\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"kubia\"}: `selector` does not match template `labels`\n"
        );
    }
    let sh = &scene.shell;
    let mut set = replicated("apps/v1", "ReplicaSet", "kubia", 1);
    set["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    sh.file("rs.yaml", &set.to_string());
    let refused = sh.fails("kubectl create -f rs.yaml");
    assert!(
        refused.contains("The ReplicaSet \"kubia\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match template `labels`"),
        "{refused}"
    );
    sh.file("never.yaml", &{
        let mut never = replicated("v1", "ReplicationController", "never", 1);
        never["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
        never.to_string()
    });
    let refused = sh.fails("kubectl create -f never.yaml");
    assert!(
        refused.contains(
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""
        ),
        "{refused}"
    );
}

fn w102(scene: &Scene) {
    let sh = &scene.shell;
    let mut bare = replicated("v1", "ReplicationController", "kubia", 2);
    bare["spec"].as_object_mut().expect("a spec").remove("selector");
    sh.apply(&bare.to_string());
    assert_eq!(sh.ok("kubectl get rc kubia -o jsonpath={.spec.selector}"), r#"{"app":"kubia"}"#);
    assert_eq!(sh.ok("kubectl get rc kubia -o jsonpath={.metadata.labels}"), r#"{"app":"kubia"}"#);
    all_ready(sh, "rc/kubia", 2);
    // With a ReplicaSet it must be said.
    let mut set = replicated("apps/v1", "ReplicaSet", "kubia", 1);
    set["spec"].as_object_mut().expect("a spec").remove("selector");
    sh.file("rs.yaml", &set.to_string());
    let refused = sh.fails("kubectl create -f rs.yaml --validate=false");
    assert!(refused.contains("spec.selector: Required value"), "{refused}");
}

fn w103(scene: &Scene) {
    let sh = &scene.shell;
    let set = |name: &str, expressions: Value| {
        let mut set = replicated("apps/v1", "ReplicaSet", name, 2);
        set["spec"]["selector"] = json!({"matchExpressions": expressions});
        set["spec"]["template"]["metadata"]["labels"] = json!({"app": name, "tier": "front"});
        set.to_string()
    };
    let all = [
        set("in", json!([{"key": "app", "operator": "In", "values": ["in", "other"]}])),
        set(
            "notin",
            json!([
                {"key": "tier", "operator": "NotIn", "values": ["back"]},
                {"key": "app", "operator": "In", "values": ["notin"]}
            ]),
        ),
        set(
            "exists",
            json!([
                {"key": "tier", "operator": "Exists"},
                {"key": "app", "operator": "In", "values": ["exists"]}
            ]),
        ),
        set(
            "doesnotexist",
            json!([
                {"key": "gone", "operator": "DoesNotExist"},
                {"key": "app", "operator": "In", "values": ["doesnotexist"]}
            ]),
        ),
    ];
    sh.apply(&all.join("\n"));
    for name in ["in", "notin", "exists", "doesnotexist"] {
        all_ready(sh, &format!("rs/{name}"), 2);
    }
    let wide = sh.ok("kubectl get rs -o wide");
    for selector in [
        "app in (in,other)",
        "app in (notin),tier notin (back)",
        "app in (exists),tier",
        "app in (doesnotexist),!gone",
    ] {
        assert!(wide.contains(selector), "{selector:?} is missing in\n{wide}");
    }
    // A label that must not be there makes a set let a pod go; one that must, too.
    for (name, change) in [("doesnotexist", "gone=now"), ("exists", "tier-")] {
        let selector = format!("app={name}");
        let two = pods(sh, &selector);
        replaced(sh, &selector, &two, &format!("kubectl label pod {} {change}", two[0]));
        all_ready(sh, &format!("rs/{name}"), 2);
        let all = pods(sh, &selector);
        assert!(all.len() == 3 && all.contains(&two[0]), "{all:?}");
    }
    sh.file("wrong.yaml", &set("wrong", json!([{"key": "app", "operator": "in", "values": ["wrong"]}])));
    let refused = sh.fails("kubectl create -f wrong.yaml");
    assert!(
        refused.contains(
            "spec.selector.matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator"
        ),
        "{refused}"
    );
    sh.file("none.yaml", &set("none", json!([{"key": "app", "operator": "In"}])));
    let refused = sh.fails("kubectl create -f none.yaml");
    assert!(
        refused.contains("spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
        "{refused}"
    );
}
