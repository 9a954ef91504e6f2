//! Section A: clusters, nodes and tools: W001-W007.

use serde_json::json;

use crate::manifests::{STAY, container, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w001_clusters_start_with_one_node_and_three", w001),
    ("w002_nodes_tell_what_they_are", w002),
    ("w003_the_parts_of_the_cluster_are_shown_as_pods", w003),
    ("w004_the_api_describes_itself", w004),
    ("w005_removed_apis_are_unknown", w005),
    ("w006_output_comes_in_every_format", w006),
    ("w007_the_node_shows_sandboxes_and_containers", w007),
];

fn w001(scene: &Scene) {
    let sh = &scene.shell;
    assert!(scene.cluster().said.contains("Ready"), "{}", scene.cluster().said);
    let info = sh.ok("kubectl cluster-info");
    assert!(info.contains("Kubernetes control plane") && info.contains("is running at"), "{info}");
    assert!(
        info.lines().any(|line| line.contains("DNS") && line.contains("/services/kube-dns:dns/proxy")),
        "{info}"
    );

    // Another cluster beside it, of three nodes, with the user's kubeconfig.
    let (three, other) = scene.own_cluster("three", 3);
    other.ok("kubectl wait --for=condition=Ready node --all --timeout=30s");
    let nodes = other.ok("kubectl get nodes --no-headers");
    assert_eq!(nodes.lines().count(), 3, "{nodes}");
    assert_eq!(nodes.lines().filter(|line| line.contains(" control-plane ")).count(), 1, "{nodes}");
    assert!(nodes.contains("-m02 ") && nodes.contains("-m03 "), "{nodes}");
    assert_eq!(sh.ok("kubectl get nodes --no-headers").lines().count(), 1, "the first one is as it was");
    let up = format!("knarr up --name {} --nodes 3 --data-dir {}", three.name(), three.data_dir().display());
    other.ok(&format!("KUBECONFIG=$PWD/users {up}"));
    assert_eq!(
        other.ok("KUBECONFIG=$PWD/users kubectl config current-context"),
        format!("knarr-{}\n", three.name())
    );
    other.ok("KUBECONFIG=$PWD/users kubectl get nodes");
}

fn w002(scene: &Scene) {
    let sh = &scene.shell;
    let table = sh.ok("kubectl get nodes");
    let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[1..3], ["Ready", "control-plane"], "{table}");
    assert!(row[4].starts_with("v1.36."), "{table}");
    let wide = sh.ok("kubectl get nodes -o wide");
    for column in ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"] {
        assert!(wide.contains(column), "{wide}");
    }
    let kernel = sh.ok("uname -r");
    assert!(wide.contains(kernel.trim()), "{wide}");
    let shown: Vec<&str> = wide.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    let ip = sh.ok(
        "kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'",
    );
    assert!(shown.contains(&ip.as_str()), "{ip} is missing in\n{wide}");
    let system = sh.ok(". /etc/os-release && echo $PRETTY_NAME");
    assert!(wide.contains(system.trim()), "{system} is missing in\n{wide}");
    assert!(shown.last().is_some_and(|runtime| runtime.starts_with("knarr://")), "{wide}");
    let mut here = pod("here", STAY);
    here["spec"]["containers"][0]["resources"] =
        serde_json::json!({"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}});
    sh.apply(&here.to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/here --timeout=60s");
    let text = sh.ok(&format!("kubectl describe node {}", row[0]));
    for part in [
        "Roles:              control-plane",
        "kubernetes.io/hostname=",
        "Conditions:\n  Type ",
        "  Ready ",
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "Addresses:\n  InternalIP:",
        "Capacity:\n  cpu:",
        "Allocatable:\n  cpu:",
        "System Info:",
        "PodCIDR:",
        "Non-terminated Pods:",
        "  Namespace                   Name",
        "Allocated resources:",
        "Events:\n",
        "Starting",
        "NodeReady",
        "RegisteredNode",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let line = text.lines().find(|line| line.contains(" here ")).unwrap_or_default();
    assert!(line.contains("50m (") && line.contains("16Mi (") && line.contains("32Mi ("), "{text}");
    for condition in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let status = if condition == "Ready" { "True" } else { "False" };
        let told = |line: &str| line.split_whitespace().take(2).eq([condition, status]);
        assert!(text.lines().any(told), "{condition} is not {status} in\n{text}");
    }
}

fn w003(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok("kubectl wait -n kube-system --for=condition=Ready pod --all --timeout=30s");
    let node = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let names = sh.ok("kubectl get pods -n kube-system -o jsonpath={.items[*].metadata.name}");
    let parts = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-dns"];
    for part in parts {
        let name = format!("{part}-{node}");
        assert!(names.split(' ').any(|known| known == name), "{names}");
    }
    assert!(sh.ok("kubectl get po -A").contains("kube-system"));
    for selector in ["component=kube-scheduler,tier=control-plane", "k8s-app=kube-dns"] {
        assert_eq!(
            sh.ok(&format!("kubectl get pods -n kube-system -l {selector} -o name")).lines().count(),
            1
        );
    }
    // They run in knarr's own process: nothing hides that.
    let of_dns =
        |path: &str| sh.ok(&format!("kubectl get pod -n kube-system kube-dns-{node} -o jsonpath='{path}'"));
    assert!(of_dns("{.spec.containers[0].image}").starts_with("knarr:v"));
    assert_eq!(of_dns("{.metadata.annotations.kubernetes\\.io/config\\.source}"), "process");
    assert_eq!(of_dns("{.status.podIP}"), of_dns("{.status.hostIP}"));
    for command in ["logs", "exec -it"] {
        let tail = if command == "logs" { "" } else { "-- sh" };
        let refused = sh.fails(&format!("kubectl {command} -n kube-system kube-dns-{node} {tail}"));
        assert!(refused.contains("is a part of the process of knarr"), "{refused}");
    }
    // What runs cannot be deleted: its pod comes back.
    let uid = of_dns("{.metadata.uid}");
    sh.ok(&format!("kubectl delete pod -n kube-system kube-dns-{node}"));
    sh.ok(&format!("kubectl wait -n kube-system --for=create pod/kube-dns-{node} --timeout=30s"));
    sh.ok(&format!("kubectl wait -n kube-system --for=condition=Ready pod/kube-dns-{node} --timeout=30s"));
    assert_ne!(of_dns("{.metadata.uid}"), uid);
    // One that tells of nothing here does not stay.
    let mut stranger = pod("stranger", STAY);
    stranger["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    stranger["spec"]["nodeName"] = node.as_str().into();
    sh.apply(&stranger.to_string());
    sh.ok("kubectl wait --for=delete pod/stranger --timeout=30s");
}

fn w004(scene: &Scene) {
    for kubectl in scene.cluster().fixtures.kubectls() {
        let sh = scene.shell_with(&kubectl);
        let versions = sh.ok("kubectl api-versions");
        for version in ["v1", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1"] {
            assert!(versions.lines().any(|line| line == version), "{version} is missing in\n{versions}");
        }
        let kinds = sh.ok("kubectl api-resources --no-headers");
        for kind in [
            ["pods", "po", "v1", "true", "Pod"],
            ["replicationcontrollers", "rc", "v1", "true", "ReplicationController"],
            ["namespaces", "ns", "v1", "false", "Namespace"],
            ["deployments", "deploy", "apps/v1", "true", "Deployment"],
        ] {
            assert!(
                kinds.lines().any(|line| line.split_whitespace().eq(kind)),
                "{kind:?} is missing in\n{kinds}"
            );
        }
        let pods = sh.ok("kubectl explain pods");
        assert!(pods.contains("Pod is a collection of containers that can run on a host."), "{pods}");
        assert!(pods.contains("spec\t<PodSpec>"), "{pods}");
        let fields = sh.ok("kubectl explain pods.spec.containers --recursive");
        for field in ["image\t<string>", "livenessProbe\t<Probe>", "httpGet\t<HTTPGetAction>"] {
            assert!(fields.contains(field), "{field:?} is missing in\n{fields}");
        }
        let quiet = sh.run("kubectl apply --dry-run=server -f - <<< '{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}'");
        assert_eq!((quiet.code, quiet.err.as_str()), (0, ""), "{}", quiet.told("no warnings"));
    }
}

fn w005(scene: &Scene) {
    let sh = &scene.shell;
    sh.file("old.yaml", &replicated("apps/v1beta2", "ReplicaSet", "kubia", 3).to_string());
    let refused = sh.run("kubectl create -f old.yaml");
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("no matches for kind \"ReplicaSet\" in version \"apps/v1beta2\""),
        "{}",
        refused.told("says why")
    );
}

fn w006(scene: &Scene) {
    let sh = &scene.shell;
    let ranked = |name: &str, rank: &str| {
        let mut pod = pod(name, STAY);
        pod["metadata"]["labels"]["rank"] = rank.into();
        pod
    };
    let mut watch = sh.start("kubectl get pods -w");
    sh.apply(&format!("{}\n{}", ranked("b", "1"), ranked("a", "2")));
    watch.wait_until("a running", |line| {
        line.starts_with("a ") && line.contains("1/1") && line.contains("Running")
    });
    sh.ok("kubectl wait --for=condition=Ready pod/a pod/b --timeout=60s");
    let yaml = sh.ok("kubectl get pod a -o yaml");
    for part in [
        "apiVersion: v1\nkind: Pod",
        "  dnsPolicy: ClusterFirst",
        "  restartPolicy: Always",
        "  qosClass: BestEffort",
        "    tolerationSeconds: 300",
    ] {
        assert!(yaml.contains(part), "{part:?} is missing in\n{yaml}");
    }
    assert!(!yaml.contains("managedFields"), "{yaml}");
    let managed = sh.ok("kubectl get pod a -o yaml --show-managed-fields");
    assert!(
        managed.contains("manager: kubectl-client-side-apply") && managed.contains("f:metadata:"),
        "{managed}"
    );
    assert!(sh.ok("kubectl get pod a -o json").contains("\"kind\": \"Pod\""));
    assert_eq!(sh.ok("kubectl get pods -o name --sort-by=.metadata.labels.rank"), "pod/b\npod/a\n");
    let wide = sh.ok("kubectl get pods -o wide");
    for column in ["NODE", "NOMINATED NODE", "READINESS GATES"] {
        assert!(wide.contains(column), "{wide}");
    }
    assert_eq!(sh.ok("kubectl get pods -o jsonpath={.items[*].metadata.name}"), "a b");
    let columns = sh.ok("kubectl get pods -o custom-columns=N:.metadata.name,P:.status.phase");
    assert!(columns.split_whitespace().eq(["N", "P", "a", "Running", "b", "Running"]), "{columns}");
    let template = "'{{range .items}}{{.metadata.name}};{{end}}'";
    assert_eq!(sh.ok(&format!("kubectl get pods -o go-template={template}")), "a;b;");
    assert_eq!(sh.ok("kubectl get pods -o name --field-selector metadata.name=b"), "pod/b\n");
    assert_eq!(sh.ok("kubectl get pods -o name --field-selector status.phase!=Running"), "");
    let wrong = sh.fails("kubectl get pods --field-selector spec.nothing=1");
    assert!(wrong.contains("field label not supported: spec.nothing"), "{wrong}");
    assert!(sh.ok("kubectl describe pods").contains("Name:             b"));
}

fn w007(scene: &Scene) {
    let sh = &scene.shell;
    let mut two = pod("two", STAY);
    two["spec"]["containers"].as_array_mut().expect("containers").push(container("side", STAY));
    sh.apply(&two.to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/two --timeout=60s");
    let containers = scene.cluster().knarr(&["crictl", "ps"]).expect("the list of containers");
    assert!(containers.starts_with("CONTAINER "), "{containers}");
    let ours: Vec<&str> = containers.lines().filter(|line| line.contains(" w007")).collect();
    assert_eq!(ours.len(), 2, "{containers}");
    assert!(ours.iter().all(|line| line.contains(" Running ") && line.contains(" two ")), "{containers}");
    let pods = scene.cluster().knarr(&["crictl", "pods"]).expect("the list of sandboxes");
    let ours: Vec<&str> = pods.lines().filter(|line| line.contains(" w007")).collect();
    assert!(ours.len() == 1 && ours[0].contains("Ready") && ours[0].contains(" two "), "{pods}");
}
