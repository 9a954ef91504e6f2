//! Section F: deployments: W104, its parts a trial each.

use std::collections::HashMap;

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, container, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w104_deployments_roll_out_and_back", w104),
    ("w104a_recreate_stops_all_before_it_starts_any", w104_recreate),
    ("w104b_surge_and_unavailability_are_limits", w104_limits),
    ("w104c_a_rollout_that_stands_still_is_told_and_undone", w104_deadline),
    ("w104d_scaling_amid_a_rollout_is_shared", w104_proportional),
];

/// A deployment of busybox pods that stay; `VERSION` tells one revision from another.
fn deployment(name: &str, replicas: u32, strategy: Value) -> Value {
    let mut made = replicated("apps/v1", "Deployment", name, replicas);
    let mut main = container("main", STAY);
    main["env"] = json!([{"name": "VERSION", "value": "1"}]);
    made["spec"]["template"]["spec"]["containers"] = json!([main]);
    made["spec"]["strategy"] = strategy;
    made
}

fn rolled_out(sh: &Shell, name: &str) {
    let said = sh.ok(&format!("kubectl rollout status deployment/{name} --timeout=90s"));
    assert!(said.ends_with(&format!("deployment \"{name}\" successfully rolled out\n")), "{said}");
}

fn condition(sh: &Shell, name: &str, condition: &str) -> String {
    let path = format!("'{{.status.conditions[?(@.type==\"{condition}\")]}}'");
    let text = sh.ok(&format!("kubectl get deployment {name} -o jsonpath={path}"));
    let told: Value = serde_json::from_str(&text).unwrap_or_default();
    format!("{}/{}", told["status"].as_str().unwrap_or_default(), told["reason"].as_str().unwrap_or_default())
}

fn w104(scene: &Scene) {
    let sh = &scene.shell;
    assert_eq!(
        sh.ok("kubectl create deployment web --image=nginx:alpine --replicas=2 --port=80"),
        "deployment.apps/web created\n"
    );
    rolled_out(sh, "web");
    let table = sh.ok("kubectl get deployments");
    assert!(
        table.split_whitespace().take(9).eq("NAME READY UP-TO-DATE AVAILABLE AGE web 2/2 2 2".split(' ')),
        "{table}"
    );
    let hash = sh.ok("kubectl get rs -l app=web -o jsonpath={.items[0].metadata.labels.pod-template-hash}");
    assert_eq!(sh.ok("kubectl get rs -o name"), format!("replicaset.apps/web-{hash}\n"));
    let pods = sh.ok("kubectl get pods -l app=web -o name");
    assert!(
        pods.lines().count() == 2 && pods.lines().all(|pod| pod.starts_with(&format!("pod/web-{hash}-"))),
        "{pods}"
    );
    assert_eq!(sh.ok("kubectl scale deployment web --replicas=3"), "deployment.apps/web scaled\n");
    rolled_out(sh, "web");
    assert_eq!(sh.ok("kubectl get rs -o name"), format!("replicaset.apps/web-{hash}\n"));
    w104_revisions(sh, &hash);
    w104_described(sh);
    for kubectl in scene.cluster().fixtures.kubectls() {
        let sh = scene.shell_with(&kubectl);
        // The mark of a restart counts seconds: kubectl refuses a second one within the same.
        let restarted = sh.ok("until kubectl rollout restart deployment web; do sleep 0.2; done");
        assert_eq!(restarted, "deployment.apps/web restarted\n");
        rolled_out(&sh, "web");
        let at = "'{.spec.template.metadata.annotations.kubectl\\.kubernetes\\.io/restartedAt}'";
        assert_ne!(sh.ok(&format!("kubectl get deployment web -o jsonpath={at}")), "");
    }
    sh.ok("kubectl delete deployment web");
    for kind in ["rs", "pods"] {
        sh.ok(&format!("kubectl wait --for=delete {kind} -l app=web --timeout=60s"));
    }
}

/// Image change, history, undo, pause and resume.
fn w104_revisions(sh: &Shell, first: &str) {
    sh.ok("kubectl annotate deployment web kubernetes.io/change-cause='the first'");
    assert_eq!(
        sh.ok("kubectl set image deployment/web nginx=nginx:latest"),
        "deployment.apps/web image updated\n"
    );
    rolled_out(sh, "web");
    sh.ok("kubectl annotate deployment web kubernetes.io/change-cause='the second' --overwrite");
    let second =
        sh.ok(r"kubectl get rs -l app=web --sort-by=.spec.replicas -o jsonpath={.items[1].metadata.name}");
    sh.ok(&format!(
        "kubectl wait rs/{second} --for=jsonpath='{{.metadata.annotations.kubernetes\\.io/change-cause}}'='the second' --timeout=20s"
    ));
    let history = sh.ok("kubectl rollout history deployment/web");
    assert_eq!(
        history,
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         the first\n2         the second\n\n"
    );
    let one = sh.ok("kubectl rollout history deployment/web --revision=2");
    assert!(one.contains("Image:\tnginx:latest") || one.contains("nginx:latest"), "{one}");
    assert_eq!(sh.ok("kubectl rollout undo deployment/web"), "deployment.apps/web rolled back\n");
    rolled_out(sh, "web");
    let running =
        sh.ok(r"kubectl get rs -l app=web --sort-by=.spec.replicas -o jsonpath={.items[1].metadata.name}");
    assert_eq!(running, format!("web-{first}"), "the old set runs again");
    let history = sh.ok("kubectl rollout history deployment/web");
    assert!(history.contains("\n2         ") && history.contains("\n3         "), "{history}");
    assert!(!history.contains("\n1         "), "a revision run again has a new number:\n{history}");
    sh.ok("kubectl rollout undo deployment/web --to-revision=2");
    rolled_out(sh, "web");
    assert_eq!(sh.ok("kubectl get deployment web -o jsonpath={..containers[0].image}"), "nginx:latest");
    let refused = sh.fails("kubectl rollout undo deployment/web --to-revision=77");
    assert!(refused.contains("unable to find specified revision 77 in history"), "{refused}");

    assert_eq!(sh.ok("kubectl rollout pause deployment/web"), "deployment.apps/web paused\n");
    let sets = sh.ok("kubectl get rs -o name");
    sh.ok("kubectl set image deployment/web nginx=nginx:alpine && kubectl set env deployment/web A=1");
    sh.ok("kubectl wait deployment/web --for=condition=Progressing=Unknown --timeout=20s");
    assert_eq!(condition(sh, "web", "Progressing"), "Unknown/DeploymentPaused");
    sh.ok("kubectl scale deployment web --replicas=2 && kubectl wait deployment/web --for=jsonpath={.status.replicas}=2 --timeout=30s");
    assert_eq!(sh.ok("kubectl get rs -o name"), sets, "nothing new while it is paused");
    let refused = sh.fails("kubectl rollout undo deployment/web");
    assert!(refused.contains("you cannot rollback a paused deployment"), "{refused}");
    assert_eq!(sh.ok("kubectl rollout resume deployment/web"), "deployment.apps/web resumed\n");
    rolled_out(sh, "web");
    assert_eq!(condition(sh, "web", "Progressing"), "True/NewReplicaSetAvailable");
    assert_eq!(condition(sh, "web", "Available"), "True/MinimumReplicasAvailable");
}

fn w104_described(sh: &Shell) {
    let told = sh.ok("kubectl describe deployment web");
    for part in [
        "Name:                   web",
        "Labels:                 app=web",
        "Selector:               app=web",
        "Replicas:               2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
        "StrategyType:           RollingUpdate",
        "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
        "Available      True    MinimumReplicasAvailable",
        "Progressing    True    NewReplicaSetAvailable",
        "(2/2 replicas created)",
        "deployment-controller  Scaled up replica set web-",
        " from 0 to 2",
        " from 2 to 3",
        "deployment-controller  Scaled down replica set web-",
    ] {
        assert!(told.contains(part), "{part:?} is missing in\n{told}");
    }
    let wide = sh.ok("kubectl get deployments -o wide");
    for column in ["CONTAINERS", "IMAGES", "SELECTOR", "nginx:alpine", "app=web"] {
        assert!(wide.contains(column), "{wide}");
    }
}

fn w104_recreate(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&deployment("web", 3, json!({"type": "Recreate"})).to_string());
    rolled_out(sh, "web");
    let mut watch = sh.start("kubectl get pods -w --output-watch-events --no-headers");
    for _ in 0..3 {
        watch.wait_for("ADDED");
    }
    sh.ok("kubectl set env deployment/web VERSION=2");
    rolled_out(sh, "web");
    for _ in 0..3 {
        watch.wait_for("ADDED");
    }
    // All three have ended before the first new pod comes.
    let lines = watch.seen();
    let added: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].starts_with("ADDED")).collect();
    let name = |line: &str| line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    for old in &added[..3] {
        let old = name(&lines[*old]);
        let ended = lines.iter().position(|line| name(line) == old && !line.contains("1/1"));
        assert!(ended.is_some_and(|at| at < added[3]), "{old} runs on in {lines:#?}");
    }
}

fn w104_limits(scene: &Scene) {
    let sh = &scene.shell;
    for (name, surge, unavailable) in [("surge", 1, 0), ("lack", 0, 2), ("both", 2, 1)] {
        let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        sh.apply(&deployment(name, 4, strategy).to_string());
        rolled_out(sh, name);
        let mut sizes = sh.start(&format!(
            "kubectl get rs -l app={name} -w --no-headers -o custom-columns=N:.metadata.name,S:.spec.replicas"
        ));
        sizes.wait_for(" 4");
        let mut serving = sh.start(&format!(
            "kubectl get deployment {name} -w --no-headers -o custom-columns=A:.status.availableReplicas,U:.status.updatedReplicas,R:.status.replicas,G:.status.observedGeneration"
        ));
        serving.wait_for("4 ");
        sh.ok(&format!("kubectl set env deployment/{name} VERSION=2"));
        rolled_out(sh, name);
        serving.wait_until("the end", |line| line.split_whitespace().eq(["4", "4", "4", "2"]));
        for line in serving.seen() {
            let available: u32 = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            assert!(available >= 4 - unavailable, "{name}: too few in {:#?}", serving.seen());
        }
        let mut now: HashMap<&str, u32> = HashMap::new();
        for line in sizes.seen() {
            let (set, size) = line.split_once(' ').unwrap_or_default();
            now.insert(set, size.trim().parse().unwrap_or(0));
            assert!(now.values().sum::<u32>() <= 4 + surge, "{name}: too many in {:#?}", sizes.seen());
        }
    }
    let mut stuck = deployment("stuck", 1, json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}));
    sh.file("stuck.yaml", &stuck.to_string());
    let refused = sh.fails("kubectl create -f stuck.yaml");
    assert!(
        refused.contains(
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
        ),
        "{refused}"
    );
    stuck["spec"]["strategy"] = json!({"type": "Recreate", "rollingUpdate": {}});
    sh.file("stuck.yaml", &stuck.to_string());
    let refused = sh.fails("kubectl create -f stuck.yaml");
    assert!(refused.contains("may not be specified when strategy `type` is 'Recreate'"), "{refused}");
}

fn w104_deadline(scene: &Scene) {
    let sh = &scene.shell;
    let made = deployment("web", 2, json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}));
    sh.apply(&made.to_string());
    rolled_out(sh, "web");
    sh.ok(r#"kubectl patch deployment web -p '{"spec":{"progressDeadlineSeconds":5}}'"#);
    sh.ok("kubectl set image deployment/web main=nowhere.invalid/none:1");
    let stuck = sh.run("kubectl rollout status deployment/web --timeout=60s");
    assert_eq!(stuck.code, 1, "{}", stuck.told("fails"));
    assert!(
        stuck.err.contains("error: deployment \"web\" exceeded its progress deadline"),
        "{}",
        stuck.told("says why")
    );
    assert_eq!(condition(sh, "web", "Progressing"), "False/ProgressDeadlineExceeded");
    assert_eq!(condition(sh, "web", "Available"), "True/MinimumReplicasAvailable");
    let figures = "'{.status.replicas} {.status.updatedReplicas} {.status.availableReplicas} {.status.unavailableReplicas}'";
    assert_eq!(sh.ok(&format!("kubectl get deployment web -o jsonpath={figures}")), "3 1 2 1");
    sh.ok("kubectl rollout undo deployment/web");
    rolled_out(sh, "web");
    assert_eq!(condition(sh, "web", "Progressing"), "True/NewReplicaSetAvailable");
    assert_eq!(sh.ok(&format!("kubectl get deployment web -o jsonpath={figures}")), "2 2 2 ");
}

fn w104_proportional(scene: &Scene) {
    let sh = &scene.shell;
    let mut made = deployment("web", 6, json!({"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 2}}));
    made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
    sh.apply(&made.to_string());
    rolled_out(sh, "web");
    sh.ok("kubectl set image deployment/web main=nowhere.invalid/none:1");
    // 4 of the old serve on, 4 of the new try to.
    sh.ok("kubectl wait deployment/web --for=jsonpath={.status.updatedReplicas}=4 --timeout=30s");
    let sizes = || {
        sh.ok(r"kubectl get rs -l app=web --sort-by='{.metadata.annotations.deployment\.kubernetes\.io/revision}' -o jsonpath={.items[*].spec.replicas}")
    };
    sh.ok("kubectl wait rs -l app=web --for=jsonpath={.spec.replicas}=4 --timeout=30s");
    assert_eq!(sizes(), "4 4");
    sh.ok("kubectl scale deployment web --replicas=12");
    sh.ok("kubectl wait deployment/web --for=jsonpath={.status.replicas}=14 --timeout=30s");
    assert_eq!(sizes(), "7 7");
}
