//! Nodes without a server beside them: machines that join with a token, that cannot join, and whose certificates are
//! renewed.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{Agent, Cluster, Shell};

use crate::manifests::{STAY, kubia, pod};
use crate::suite::{Row, Scene};

/// How long aged certificates are still valid.
const LEFT: Duration = Duration::from_secs(12);

pub const ROWS: &[Row] = &[
    ("w001b_a_node_runs_pods_of_a_control_plane_elsewhere", w001b),
    ("w130b_pods_reach_pods_of_other_machines", across),
    ("w001j_a_machine_that_cannot_join_says_why_in_one_line", w001j),
    ("w001k_a_nodes_certificates_are_renewed_while_it_runs", w001k),
];

fn w001b(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("apart", 0);
    assert!(sh.ok("kubectl get nodes 2>&1").contains("No resources found"));
    let (mut agent, token) = join(&cluster, &sh, "far", "far");

    // Decided by the scheduler elsewhere, run here, with the cluster's tokens, DNS and logs.
    let script = format!(
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; \
         nslookup kubernetes.default.svc.cluster.local; echo $KUBERNETES_SERVICE_HOST; {STAY}"
    );
    sh.apply(&pod("here", &script).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/here --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod here -o jsonpath={.spec.nodeName}"), "far");
    let address = sh.ok("kubectl get service kubernetes -o jsonpath={.spec.clusterIP}");
    let logs = sh.ok("kubectl logs here");
    assert!(logs.starts_with("default"), "{logs}");
    assert!(
        logs.contains(&format!("Address: {address}")) && logs.ends_with(&format!("{address}\n")),
        "{logs}"
    );
    assert_eq!(sh.ok("kubectl exec here -- hostname"), "here\n");
    // The API by its Service: the node passes connections on, TLS goes from end to end.
    agent
        .machine
        .run(&format!(
            "kubectl --kubeconfig {} --server https://{address} get --raw /readyz",
            sh.kubeconfig().display()
        ))
        .expect("the API answers on the node");
    sh.ok(&format!("kubectl exec here -- sh -c 'nc -w 5 {address} 443 </dev/null'"));
    // What the node asked for was approved and signed; nobody else was asked.
    let requests = sh.ok(
        "kubectl get csr -o jsonpath='{range .items[*]}{.spec.signerName} {.spec.username} {.status.conditions[*].type}{\"\\n\"}{end}' \
         | sort",
    );
    let id = token.split('.').next().expect("an id");
    assert_eq!(
        requests,
        format!(
            "kubernetes.io/kube-apiserver-client system:node:far Approved\n\
             kubernetes.io/kube-apiserver-client-kubelet system:bootstrap:{id} Approved\n\
             kubernetes.io/kubelet-serving system:node:far Approved\n"
        )
    );

    // The server may go and come back; the node goes on, and works for the new one.
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the control plane comes up again");
    sh.apply(&pod("later", STAY).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/later pod/here --timeout=60s");

    // Without its token the machine is still the node.
    cluster.knarr(&["token", "delete", id]).expect("deleted");
    agent.stop().expect("stopped");
    agent.go(&[]).expect("started");
    sh.apply(&pod("third", STAY).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/third pod/here --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod here -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    sh.ok("kubectl delete pod here later third --timeout=60s");
    agent.take_down().expect("nothing of it is left");
}

/// One machine with the control plane and a node, and one that has joined.
fn across(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("wide", 1);
    let near = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    let (agent, _) = join(&cluster, &sh, "wfar", "far");
    let on = |mut manifest: Value, app: &str, node: &str| {
        manifest["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        manifest["metadata"]["labels"] = json!({"app": app});
        manifest
    };
    let all = [
        on(kubia("web-near"), "kubia", &near),
        on(kubia("web-far"), "kubia", "far"),
        on(pod("near", STAY), "client", &near),
        on(pod("far", STAY), "client", "far"),
    ];
    sh.apply(&all.map(|manifest| manifest.to_string()).join("\n"));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=90s");
    let ip = |pod: &str| sh.ok(&format!("kubectl get pod {pod} -o jsonpath={{.status.podIP}}"));
    for (from, to) in [("near", "web-far"), ("far", "web-near"), ("far", "web-far")] {
        let (client, server) = (ip(from), ip(to));
        let hit = sh.ok(&format!("kubectl exec {from} -- wget -qO- http://{server}:8080"));
        assert!(hit.contains(&format!("You've hit {to}")), "{hit}");
        let seen = sh.ok(&format!("kubectl exec {from} -- wget -qO- http://{server}:8080/client"));
        assert_eq!(seen.trim(), client, "{to} sees the pod's own address");
    }
    // A Service leads to endpoints of both machines, from both, and by the address of either.
    sh.ok("kubectl create service nodeport kubia --tcp=80:8080");
    let port = sh.ok("kubectl get service kubia -o jsonpath={.spec.ports[0].nodePort}");
    let far = agent.machine.address(2);
    for ask in [
        "kubectl exec near -- wget -qO- http://kubia".to_owned(),
        "kubectl exec far -- wget -qO- http://kubia".to_owned(),
        format!("curl -s -m 5 http://{far}:{port}"),
    ] {
        for pod in ["web-near", "web-far"] {
            sh.ok(&format!("timeout 60 sh -c 'until {ask} | grep -q {pod}; do :; done' 2>/dev/null"));
        }
    }
    // What is in the tunnel obeys policies.
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "far-only"},
        "spec": {"podSelector": {"matchLabels": {"app": "kubia"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"from": "far"}}}]}]}});
    sh.apply(&policy.to_string());
    sh.ok("kubectl label pod far from=far");
    let (web_near, web_far) = (ip("web-near"), ip("web-far"));
    for server in [&web_near, &web_far] {
        let closed = format!("kubectl exec near -- timeout 1 wget -qO- http://{server}:8080");
        sh.ok(&format!("timeout 60 sh -c 'while {closed}; do :; done' >/dev/null 2>&1"));
        let open = format!("kubectl exec far -- timeout 5 wget -qO- http://{server}:8080");
        sh.ok(&format!("timeout 60 sh -c 'until {open}; do :; done' 2>/dev/null"));
    }
    sh.ok("kubectl delete pod --all --timeout=60s");
    agent.take_down().expect("nothing of it is left");
}

/// A node of the cluster that can run pods, and the token it has joined with.
pub fn join(cluster: &Cluster, sh: &Shell, name: &str, node: &str) -> (Agent, String) {
    let line = cluster.knarr(&["token", "create", "--print-join-command"]).expect("a token");
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["knarr", "agent", joining @ ..] = words.as_slice() else { panic!("{line}") };
    let agent = Agent::start(cluster, name, node, joining).expect("an agent");
    sh.ok(&format!("kubectl wait --for=create node/{node} --timeout=60s"));
    sh.ok(&format!("kubectl wait --for=condition=Ready node/{node} --timeout=60s"));
    for image in &cluster.fixtures.images {
        agent.knarr(&["image", "import", image.to_str().expect("UTF-8")]).expect("imported");
    }
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let token = joining.iter().skip_while(|word| **word != "--token").nth(1).expect("a token");
    (agent, (*token).to_owned())
}

/// What an agent on the test's own machine says that cannot join.
fn refusal(sh: &Shell, node: &str, arguments: &str) -> String {
    let spoken = sh
        .run(&format!("knarr agent --name w001j --data-dir $PWD/w001j --node-name {node} {arguments} 2>&1"));
    let said = &spoken.out;
    assert_eq!(spoken.code, 1, "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
    last.strip_prefix("error: ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn w001j(scene: &Scene) {
    let (cluster, sh) = (scene.cluster(), &scene.shell);
    let line = cluster.knarr(&["token", "create", "--print-join-command"]).expect("a token");
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |flag: &str| *words.iter().skip_while(|word| **word != flag).nth(1).expect(flag);
    let (server, token) = (after("--server"), after("--token"));
    let hash = after("--discovery-token-ca-cert-hash");
    let (id, secret) = token.split_once('.').expect("a token");
    let says = |arguments: &str| refusal(sh, "w001j", arguments);

    assert!(says("").starts_with("this machine has not joined a cluster: `knarr token create"));
    assert_eq!(
        says(&format!("--server {server} --token nonsense")),
        r#"the bootstrap token "nonsense" was not of the form "\\A([a-z0-9]{6})\\.([a-z0-9]{16})\\z""#
    );
    let wrong: String = secret.chars().rev().collect();
    assert!(
        says(&format!("--server {server} --token {id}.{wrong}"))
            .starts_with(&format!("the token's secret is not that of token id {id:?} in this cluster"))
    );
    assert!(
        says(&format!("--server {server} --token zzzzzz.{secret}"))
            .starts_with(r#"token id "zzzzzz" is invalid for this cluster or it has expired"#)
    );
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        says(&format!("--server {server} --token {token} --discovery-token-ca-cert-hash {other}")),
        format!("the cluster's CA is another one than was given: its public key has the hash {hash}")
    );
    assert!(
        says(&format!("--server https://127.0.0.1:1 --token {token}"))
            .starts_with("the server https://127.0.0.1:1 cannot be reached: Connection refused")
    );

    // A token whose time has come.
    let short = cluster.knarr(&["token", "create"]).expect("a token");
    let (short, gone) = (short.trim(), short.split('.').next().expect("an id"));
    let past = r#"{"stringData": {"expiration": "2026-01-01T00:00:00Z"}}"#;
    sh.ok(&format!("kubectl patch -n kube-system secret bootstrap-token-{gone} -p '{past}'"));
    sh.ok(&format!("kubectl wait -n kube-system --for=delete secret/bootstrap-token-{gone} --timeout=30s"));
    assert!(
        says(&format!("--server {server} --token {short}"))
            .starts_with(&format!("token id {gone:?} is invalid for this cluster or it has expired"))
    );
    // A token that identifies nobody.
    let signs = cluster.knarr(&["token", "create", "--usages", "signing", "--groups", ""]).expect("a token");
    assert!(
        says(&format!("--server {server} --token {}", signs.trim()))
            .starts_with("the server does not take the token to identify this machine")
    );

    // Another machine is the node already.
    sh.apply(r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w001j"}}"#);
    let status = r#"{"status": {
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "nodeInfo": {"machineID": "another", "systemUUID": "another", "bootID": "", "kernelVersion": "", "osImage": "",
            "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "", "architecture": ""}}}"#;
    sh.ok(&format!("kubectl patch node w001j --subresource=status --type=merge -p '{status}'"));
    let said = says(&format!("--server {server} --token {token}"));
    sh.ok("kubectl delete node w001j");
    assert!(
        said.starts_with(r#"a node with name "w001j" and status "Ready" already exists in the cluster"#),
        "{said}"
    );
    // Nothing was asked for, and nothing is left.
    assert!(!sh.ok("kubectl get csr -o name 2>&1").contains("csr/"));
    sh.ok("knarr down --purge --name w001j --data-dir $PWD/w001j");
    cluster.knarr(&["token", "delete", id]).expect("deleted");
}

fn w001k(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("renew", 0);
    let (mut agent, _) = join(&cluster, &sh, "old", "old");
    sh.apply(&pod("here", &format!("echo hello; {STAY}")).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/here --timeout=60s");
    assert_eq!(sh.ok("kubectl logs here"), "hello\n");

    // Another address of the machine: the node is reached there, with a certificate for it.
    let (first, second) = (agent.machine.address(2), agent.machine.address(3));
    let gateway = agent.machine.address(1);
    agent
        .machine
        .run(&format!(
            "ip addr add {second}/29 dev eth0 && ip addr del {first}/29 dev eth0 && ip addr add {second}/29 dev eth0; \
             ip route replace default via {gateway}"
        ))
        .expect("the address changes");
    sh.ok(&format!(
        "kubectl wait --for=jsonpath='{{.status.addresses[0].address}}'={second} node/old --timeout=60s"
    ));
    sh.ok("timeout 30 bash -c 'until kubectl logs here; do sleep 0.2; done'");
    assert_eq!(sh.ok("kubectl logs here"), "hello\n");

    // Certificates that are at their end, as after a year: each is renewed at once, and the new one is used.
    agent.stop().expect("stopped");
    let aged = |file: &str, user: &str, group: Option<&str>| {
        let path = agent.joined_dir().join(file);
        testing::age(&cluster, &path, user, group, LEFT).expect("a certificate at its end");
        (path.clone(), fs::read_to_string(path).expect("readable"))
    };
    let old = [
        aged("node.kubeconfig", "system:node:old", Some("system:nodes")),
        aged("network.kubeconfig", "system:kube-proxy", None),
    ];
    agent.go(&[]).expect("started");
    for (path, before) in &old {
        sh.file("before", before);
        let line = format!("timeout 30 bash -c 'while cmp -s before {}; do sleep 0.2; done'", path.display());
        assert_eq!(sh.run(&line).code, 0, "{}", agent.log());
    }
    // The old ones end meanwhile.
    sh.ok(&format!("sleep {}", LEFT.as_secs()));
    sh.apply(&pod("later", STAY).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/later node/old --timeout=60s");
    assert_eq!(sh.ok("kubectl logs here"), "hello\n");
    let metrics =
        sh.ok("kubectl get --raw /api/v1/nodes/old/proxy/metrics | grep ^kubelet_certificate_manager");
    let left =
        metrics.lines().find_map(|line| line.strip_prefix("kubelet_certificate_manager_client_ttl_seconds "));
    let left: f64 = left.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{metrics}"));
    assert!(left > 300.0 * 86_400.0, "{metrics}");
    assert!(metrics.contains("kubelet_certificate_manager_client_expiration_renew_errors 0"), "{metrics}");
    sh.ok("kubectl delete pod here later --timeout=60s");
    agent.take_down().expect("nothing of it is left");
}
