//! Section H: network policies: W136.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, kubia, once, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w136_network_policies_are_enforced", enforced),
    ("w136a_a_pod_has_its_policies_before_its_first_packet", first_packet),
    ("w136b_policies_hold_while_the_server_is_dead", killed_server),
];

fn policy(name: &str, spec: Value) -> String {
    let metadata = json!({"name": name});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec})
        .to_string()
}

/// A pod with the label `role`.
fn roled(name: &str, role: &str, script: &str) -> Value {
    let mut pod = pod(name, script);
    pod["metadata"]["labels"]["role"] = role.into();
    pod
}

/// Waits until a command in a pod succeeds, or until it fails.
fn until(sh: &Shell, pod: &str, command: &str, succeeds: bool) {
    let (not, what) = if succeeds { ("", "succeeds") } else { ("! ", "fails") };
    let line = format!("for i in $(seq 30); do {not}kubectl exec {pod} -- {command} && exit 0; done; exit 1");
    let spoken = sh.run(&line);
    assert_eq!(spoken.code, 0, "{command} in {pod} never {what}: {}{}", spoken.out, spoken.err);
}

fn get(address: &str) -> String {
    format!("timeout 2 wget -q -O /dev/null http://{address}")
}

fn passes(sh: &Shell, pod: &str, address: &str) {
    sh.ok(&format!("kubectl exec {pod} -- {}", get(address)));
}

fn is_dropped(sh: &Shell, pod: &str, address: &str) {
    let said = sh.fails(&format!("kubectl exec {pod} -- {}", get(address)));
    assert!(said.contains("exit code 143"), "dropped, and not refused: {said}");
}

fn enforced(scene: &Scene) {
    let (sh, namespace) = (&scene.shell, &scene.namespace);
    let mut web = kubia("web");
    web["metadata"]["labels"] = json!({"app": "web"});
    let probe = json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 1});
    web["spec"]["containers"][0]["readinessProbe"] = probe.clone();
    web["spec"]["containers"][0]["livenessProbe"] = probe;
    web["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    sh.apply(&format!("{web}\n{}\n{}", roled("friend", "friend", STAY), roled("stranger", "stranger", STAY)));
    sh.ok("kubectl expose pod web --port=80 --target-port=8080");
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    let address = format!("{}:8080", sh.ok("kubectl get pod web -o jsonpath={.status.podIP}"));
    let service = sh.ok("kubectl get service web -o jsonpath={.spec.clusterIP}");
    until(sh, "stranger", &get("web"), true);
    passes(sh, "stranger", &address);

    // Nothing comes in, by whatever way; the node's probes do.
    let said = sh.run_with("kubectl apply -f -", Some(&policy("deny", json!({"podSelector": {}}))));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "no warning: it is enforced");
    until(sh, "stranger", &get(&address), false);
    for (pod, to) in [("friend", &address), ("stranger", &service)] {
        is_dropped(sh, pod, to);
    }
    assert!(sh.ok(&format!("curl -sf -m 5 http://{address}")).contains("You've hit web"), "from the node");
    // By label, through the Service too; a policy adds to others.
    sh.apply(&policy("friends", json!({"podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}], "ports": [{"port": "http"}]}]})));
    until(sh, "friend", &get(&address), true);
    passes(sh, "friend", &service);
    passes(sh, "friend", "web");
    is_dropped(sh, "stranger", &address);
    is_dropped(sh, "stranger", "web");
    // Labels change, and what is let in with them.
    sh.ok("kubectl label pod stranger role=friend --overwrite");
    until(sh, "stranger", &get(&address), true);
    sh.ok("kubectl label pod stranger role=stranger --overwrite");
    until(sh, "stranger", &get(&address), false);
    // From another namespace.
    let other = format!("{namespace}-other");
    sh.ok(&format!("kubectl create namespace {other} && kubectl wait -n {other} --for=create serviceaccount/default --timeout=30s"));
    let there = format!("kubectl apply -n {other} -f -");
    assert_eq!(sh.run_with(&there, Some(&pod("guest", STAY).to_string())).code, 0);
    sh.ok(&format!("kubectl wait -n {other} --for=condition=Ready pod/guest --timeout=60s"));
    let guest = format!("guest -n {other}");
    is_dropped(sh, &guest, &address);
    sh.apply(&policy("guests", json!({"podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": other}}}]}]})));
    until(sh, &guest, &get(&address), true);
    passes(sh, &guest, &format!("web.{namespace}"));
    sh.ok("kubectl delete networkpolicy guests");
    until(sh, &guest, &get(&address), false);
    sh.ok(&format!("kubectl delete namespace {other} --wait=false"));

    let described = sh.ok("kubectl describe networkpolicy friends");
    for line in
        ["PodSelector:     app=web", "To Port: http/TCP", "PodSelector: role=friend", "Policy Types: Ingress"]
    {
        assert!(described.contains(line), "{line} in {described}");
    }
    assert!(sh.ok("kubectl get netpol friends --no-headers").starts_with("friends   app=web   "));

    egress(sh, &address);
    let restarts = sh.ok("kubectl get pod web -o jsonpath={.status.containerStatuses[0].restartCount}");
    let ready = sh.ok("kubectl get pod web -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}'");
    assert_eq!((restarts.as_str(), ready.trim()), ("0", "True"), "probes were never kept out");
    sh.ok("kubectl delete networkpolicy --all");
    until(sh, "stranger", &get(&address), true);
    passes(sh, "stranger", "web");
}

/// What goes out: nothing, DNS, and a pod.
fn egress(sh: &Shell, address: &str) {
    sh.ok("kubectl delete networkpolicy deny friends");
    until(sh, "stranger", &get(address), true);
    let stranger = json!({"matchLabels": {"role": "stranger"}});
    let out = |rules: Value| {
        policy("out", json!({"podSelector": stranger, "policyTypes": ["Egress"], "egress": rules}))
    };
    sh.apply(&out(json!([])));
    until(sh, "stranger", &get(address), false);
    let look = "timeout 3 nslookup -type=a kubernetes.default.svc.cluster.local";
    sh.fails(&format!("kubectl exec stranger -- {look}"));
    passes(sh, "friend", "web");
    let kube_dns = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}});
    let dns = json!({"to": [kube_dns], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]});
    sh.apply(&out(json!([dns])));
    until(sh, "stranger", look, true);
    is_dropped(sh, "stranger", address);
    is_dropped(sh, "stranger", "web");
    let web = json!({"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 8080, "endPort": 8081}]});
    sh.apply(&out(json!([dns, web])));
    until(sh, "stranger", &get(address), true);
    passes(sh, "stranger", "web");
    // As a block of addresses.
    let ip = address.split(':').next().unwrap_or_default();
    let block = |except: Value| json!([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": except}}]}]);
    sh.apply(&out(block(json!([format!("{ip}/32")]))));
    until(sh, "stranger", &get(address), false);
    sh.ok(&format!("kubectl exec stranger -- {look}"));
    sh.apply(&out(block(json!([]))));
    until(sh, "stranger", &get(address), true);
}

/// What a pod does first is what the policies say, whether they let it pass or not.
fn first_packet(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&kubia("web").to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/web --timeout=60s");
    let address = format!("{}:8080", sh.ok("kubectl get pod web -o jsonpath={.status.podIP}"));
    let friend = json!({"podSelector": {"matchLabels": {"role": "friend"}}});
    sh.apply(&policy(
        "p",
        json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [friend]}], "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}),
    ));
    sh.apply(&policy(
        "q",
        json!({"podSelector": {"matchLabels": {"role": "closed"}}, "policyTypes": ["Egress"]}),
    ));
    // One pod is in force where the others are: from here on new pods only are looked at.
    sh.apply(&roled("probe", "stranger", STAY).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/probe --timeout=60s");
    until(sh, "probe", &get(&address), false);
    let script = format!("{} 2>/dev/null && echo passed || echo dropped", get(&address));
    let run = |role: &str| {
        let names: Vec<String> = (0..4).map(|number| format!("{role}-{number}")).collect();
        let pods: Vec<String> = names
            .iter()
            .map(|name| {
                let mut pod = once(name, &script);
                pod["metadata"]["labels"]["role"] = role.into();
                pod.to_string()
            })
            .collect();
        sh.apply(&pods.join("\n"));
        names.iter().for_each(|name| {
            sh.ok(&format!(
                "kubectl wait --for=jsonpath={{.status.phase}}=Succeeded pod/{name} --timeout=60s"
            ));
        });
        let logs: Vec<String> = names.iter().map(|name| sh.ok(&format!("kubectl logs {name}"))).collect();
        logs.concat()
    };
    assert_eq!(run("stranger"), "dropped\n".repeat(4), "the other side does not let it in");
    assert_eq!(run("friend"), "passed\n".repeat(4), "who is let in need not try twice");
    sh.apply(&policy("p", json!({"podSelector": {}, "ingress": [{}]})));
    until(sh, "probe", &get(&address), true);
    sh.apply(&policy(
        "q",
        json!({"podSelector": {"matchLabels": {"role": "closed"}}, "policyTypes": ["Egress"]}),
    ));
    assert_eq!(run("closed"), "dropped\n".repeat(4), "it is not let out");
}

fn killed_server(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("fence", 2);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let nodes = sh.ok("kubectl get nodes -o jsonpath={.items[*].metadata.name}");
    let on = |mut pod: Value, node: usize| {
        pod["spec"]["nodeName"] = nodes.split(' ').nth(node).expect("two nodes").into();
        pod
    };
    sh.apply(&on(kubia("web"), 0).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/web --timeout=60s");
    let address = format!("{}:8080", sh.ok("kubectl get pod web -o jsonpath={.status.podIP}"));
    // What the clients see is read past the server.
    let seen = sh.dir().join("seen");
    std::fs::create_dir(&seen).expect("made");
    let client = |name: &str| {
        let script = format!(
            "while :; do {} && echo hit >> /seen/{name}; echo try >> /seen/tries-{name}; done",
            get(&address)
        );
        let mut pod = pod(name, &script);
        pod["spec"]["volumes"] = json!([{"name": "seen", "hostPath": {"path": seen}}]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "seen", "mountPath": "/seen"}]);
        pod
    };
    sh.apply(&format!("{}\n{}", on(client("near"), 0), on(client("far"), 1)));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    let more = |file: &str| {
        sh.ok(&format!("n=$(cat seen/{file} | wc -l); timeout 60 bash -c 'until [ $(cat seen/{file} | wc -l) -gt $(($0 + 2)) ]; do :; done' $n"));
    };
    let hits = || sh.ok("cat seen/near seen/far | wc -l");
    more("near");
    more("far");
    sh.apply(&policy("deny", json!({"podSelector": {}, "policyTypes": ["Ingress"]})));
    for client in ["near", "far"] {
        until(&sh, client, &get(&address), false);
        more(&format!("tries-{client}"));
    }
    let before = hits();
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    more("tries-near");
    more("tries-far");
    assert_eq!(hits(), before, "nothing passes while the server is dead");
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the server comes up again");
    more("tries-near");
    more("tries-far");
    assert_eq!(hits(), before, "nor while it begins");
    sh.apply(&on(kubia("late"), 1).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/late --timeout=60s");
    sh.ok("kubectl delete networkpolicy deny");
    more("near");
    more("far");
    cluster.take_down().expect("nothing of it is left");
}
