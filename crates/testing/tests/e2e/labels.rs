//! Section E: labels, annotations, namespaces: W090-W092.

use serde_json::json;
use testing::Shell;

use crate::manifests::{STAY, kubia, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w090_labels_are_set_shown_and_selected_by", w090),
    ("w091_annotations_are_set_and_labelled_nodes_selected", w091),
    ("w092_namespaces_divide_names_not_networks", w092),
];

fn names(sh: &Shell, arguments: &str) -> Vec<String> {
    let said = sh.ok(&format!("kubectl get pods -o name {arguments}"));
    said.lines().map(|line| line.trim_start_matches("pod/").to_owned()).collect()
}

fn w090(scene: &Scene) {
    let mut labelled = pod("with-labels", STAY);
    labelled["metadata"]["labels"] = json!({"creation_method": "manual", "env": "prod"});
    let mut bare = pod("manual", STAY);
    bare["metadata"].as_object_mut().expect("metadata").remove("labels");
    let mut run = pod("run", STAY);
    run["metadata"]["labels"] = json!({"run": "run"});
    scene.shell.apply(&format!("{labelled}\n{bare}\n{run}"));
    scene.shell.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    for kubectl in scene.cluster().fixtures.kubectls() {
        w090_with(&scene.shell_with(&kubectl));
    }
}

fn w090_with(sh: &Shell) {
    let table = sh.ok("kubectl get po --show-labels");
    for (name, labels) in
        [("manual", "<none>"), ("run", "run=run"), ("with-labels", "creation_method=manual,env=prod")]
    {
        let row = table.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
        assert_eq!(row.split_whitespace().last(), Some(labels), "{table}");
    }
    let columns = sh.ok("kubectl get po -L creation_method,env");
    let head: Vec<&str> = columns.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "CREATION_METHOD", "ENV"]);
    let row = columns.lines().find(|line| line.starts_with("with-labels")).unwrap_or_default();
    assert!(row.split_whitespace().rev().take(2).eq(["prod", "manual"]), "{columns}");

    assert_eq!(sh.ok("kubectl label po manual creation_method=manual"), "pod/manual labeled\n");
    assert_eq!(names(sh, "-l creation_method=manual"), ["manual", "with-labels"]);
    assert_eq!(sh.ok("kubectl label po manual creation_method=manual"), "pod/manual not labeled\n");
    let refused = sh.fails("kubectl label po with-labels env=debug");
    assert!(refused.contains("'env' already has a value (prod), and --overwrite is false"), "{refused}");
    assert_eq!(sh.ok("kubectl label po with-labels env=debug --overwrite"), "pod/with-labels labeled\n");
    for (selector, wanted) in [
        ("env=debug", &["with-labels"][..]),
        ("env==debug", &["with-labels"]),
        ("!env", &["manual", "run"]),
        ("env", &["with-labels"]),
        ("env!=debug", &["manual", "run"]),
        ("env in (prd, debug)", &["with-labels"]),
        ("env notin (prd, debug)", &["manual", "run"]),
        ("creation_method=manual,env=debug", &["with-labels"]),
        ("creation_method,!env", &["manual"]),
        ("creation_method in (manual),run notin (run)", &["manual", "with-labels"]),
        ("env=nowhere", &[]),
    ] {
        assert_eq!(names(sh, &format!("-l '{selector}'")), wanted, "-l '{selector}'");
    }
    let wrong = sh.fails("kubectl get po -l 'env in prod'");
    assert!(wrong.contains("unable to parse requirement"), "{wrong}");
    let wrong = sh.fails("kubectl label po manual 'a b=c'");
    assert!(wrong.contains("name part must consist of alphanumeric characters"), "{wrong}");

    assert_eq!(sh.ok("kubectl label po manual creation_method-"), "pod/manual unlabeled\n");
    assert!(
        sh.run("kubectl label po manual creation_method-")
            .out
            .contains("label \"creation_method\" not found")
    );
    assert_eq!(sh.ok("kubectl label po --all tier=x -o name"), "pod/manual\npod/run\npod/with-labels\n");
    assert_eq!(names(sh, "-l tier=x").len(), 3);
    sh.ok("kubectl label po --all tier-");
    sh.ok("kubectl label po with-labels env=prod --overwrite");
}

fn w091(scene: &Scene) {
    let sh = &scene.shell;
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let mut gpu = pod("gpu", STAY);
    gpu["spec"]["nodeSelector"] = json!({"gpu": "true"});
    sh.apply(&format!("{}\n{gpu}", pod("manual", STAY)));

    let annotation = "mycompany.com/someannotation";
    assert_eq!(
        sh.ok(&format!("kubectl annotate pod manual {annotation}='foo bar'")),
        "pod/manual annotated\n"
    );
    let yaml = sh.ok("kubectl get pods manual -o yaml");
    assert!(yaml.contains(&format!("    {annotation}: foo bar\n")), "{yaml}");
    let described = sh.ok("kubectl describe pod manual");
    assert!(described.contains(&format!("{annotation}: foo bar")), "{described}");
    let refused = sh.fails(&format!("kubectl annotate pod manual {annotation}=other"));
    assert!(
        refused.contains("--overwrite is false but found the following declared annotation(s)"),
        "{refused}"
    );
    sh.ok(&format!("kubectl annotate pod manual {annotation}=other --overwrite"));
    assert_eq!(sh.ok(&format!("kubectl annotate pod manual {annotation}-")), "pod/manual annotated\n");
    assert!(!sh.ok("kubectl get pods manual -o yaml").contains("foo bar"));

    sh.ok("kubectl wait pod/gpu --for=condition=PodScheduled=False --timeout=30s");
    assert_eq!(sh.ok("kubectl get nodes -l gpu=true -o name"), "");
    assert_eq!(sh.ok(&format!("kubectl label nodes {node} gpu=true")), format!("node/{node} labeled\n"));
    let table = sh.ok("kubectl get nodes -l gpu=true");
    assert!(table.contains(&node) && table.contains("Ready"), "{table}");
    // The change of the node alone wakes the pod that waits for it.
    sh.ok("kubectl wait --for=condition=Ready pod/gpu --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod gpu -o jsonpath={.spec.nodeName}"), node);
    let table = sh.ok("kubectl get nodes -L kubernetes.io/hostname");
    let mut lines = table.lines();
    assert!(lines.next().unwrap_or_default().ends_with("HOSTNAME"), "{table}");
    assert!(lines.next().unwrap_or_default().trim_end().ends_with(&node), "{table}");
    sh.ok(&format!("kubectl label nodes {node} gpu-"));
    let phase = sh.ok("kubectl get pod gpu -o jsonpath={.status.phase}");
    assert_eq!(phase, "Running", "a pod that runs is not asked again");
}

fn w092(scene: &Scene) {
    let sh = &scene.shell;
    let table = sh.ok("kubectl get ns");
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let row = table.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
        assert_eq!(row.split_whitespace().nth(1), Some("Active"), "{table}");
    }
    let custom = "w092-custom";
    sh.file("ns.yaml", &format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {custom}\n"));
    sh.file("kubia.yaml", &kubia("kubia-manual").to_string());
    assert_eq!(sh.ok("kubectl create -f ns.yaml"), format!("namespace/{custom} created\n"));
    let again = sh.fails(&format!("kubectl create namespace {custom}"));
    assert!(again.contains(&format!("namespaces \"{custom}\" already exists")), "{again}");
    sh.ok(&format!("kubectl wait -n {custom} --for=create serviceaccount/default --timeout=30s"));
    sh.ok(&format!("kubectl create -f kubia.yaml --namespace {custom}"));
    sh.ok("kubectl create -f kubia.yaml");
    sh.ok(&format!("kubectl wait -n {custom} --for=condition=Ready pod/kubia-manual --timeout=60s"));
    sh.apply(&pod("client", STAY).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");

    let ip = sh.ok(&format!("kubectl get pod kubia-manual -n {custom} -o jsonpath={{.status.podIP}}"));
    let hit = sh.ok(&format!("kubectl exec client -- wget -qO- http://{ip}:8080"));
    assert!(hit.contains("You've hit kubia-manual"), "{hit}");
    sh.ok("kubectl delete po kubia-manual");
    assert!(sh.fails("kubectl get po kubia-manual").contains("pods \"kubia-manual\" not found"));
    sh.ok(&format!("kubectl get po kubia-manual --namespace {custom}"));

    // What a namespace holds goes with it, whatever kind it is.
    sh.ok(&format!("kubectl create -n {custom} deployment web --image=nginx:alpine --replicas=2"));
    sh.ok(&format!("kubectl create -n {custom} configmap settings --from-literal=a=b"));
    sh.ok(&format!("kubectl create -n {custom} secret generic hidden --from-literal=a=b"));
    sh.ok(&format!("kubectl rollout status -n {custom} deployment/web --timeout=60s"));
    assert_eq!(
        sh.ok(&format!("kubectl delete ns {custom} --timeout=90s")),
        format!("namespace \"{custom}\" deleted\n")
    );
    for kind in ["pods", "replicasets", "deployments", "configmaps", "secrets", "serviceaccounts", "events"] {
        let left =
            sh.ok(&format!("kubectl get {kind} -A -o name --field-selector metadata.namespace={custom}"));
        assert_eq!(left, "", "{kind}");
    }
    let none = sh.run(&format!("kubectl get pods --namespace {custom}"));
    assert_eq!(none.err, format!("No resources found in {custom} namespace.\n"));
    let refused = sh.fails(&format!("kubectl create -f kubia.yaml --namespace {custom}"));
    assert!(refused.contains(&format!("namespaces \"{custom}\" not found")), "{refused}");
    let refused = sh.fails("kubectl delete ns kube-system");
    assert!(refused.contains("this namespace may not be deleted"), "{refused}");
}
