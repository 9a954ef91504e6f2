//! Section H: Services as pods, the node and others reach them: W131, W132.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use testing::Shell;

use crate::manifests::{STAY, kubia, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w131c_a_service_is_reached_by_address_and_name", reached),
    ("w132_a_node_port_answers_on_all_addresses_of_the_node", node_port),
    ("f006_connections_through_services_outlive_a_killed_server", killed_server),
];

fn value(sh: &Shell, service: &str, path: &str) -> String {
    sh.ok(&format!("kubectl get service {service} -o jsonpath={path}"))
}

fn reached(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&format!("{}\n{}", replicated("apps/v1", "Deployment", "web", 2), pod("client", STAY)));
    sh.ok("kubectl expose deployment web --port=80 --target-port=8080");
    sh.ok("kubectl rollout status deployment web --timeout=60s");
    sh.ok("kubectl wait --for=condition=Ready pod/client --timeout=60s");
    let address = value(sh, "web", "{.spec.clusterIP}");
    let hits = |said: &str| {
        let mut who: Vec<&str> = said.lines().filter(|line| line.contains("You've hit web-")).collect();
        assert_eq!(who.len(), 30, "{said}");
        who.sort_unstable();
        who.dedup();
        who.len()
    };
    sh.ok(&format!("curl -s --retry 30 --retry-all-errors --retry-delay 1 http://{address}"));
    let thirty = |command: &str| format!("for i in $(seq 30); do {command}; done");
    let said = sh.ok(&thirty(&format!("curl -sf http://{address}")));
    assert_eq!(hits(&said), 2, "from the node, both pods: {said}");
    let inside = |command: &str| format!("kubectl exec client -- sh -c '{command}'");
    let said = sh.ok(&inside(&thirty(&format!("wget -qO- http://{address}"))));
    assert_eq!(hits(&said), 2, "from a pod, both pods: {said}");
    assert!(sh.ok(&inside("wget -qO- http://web")).contains("You've hit web-"), "by its name");
    let seen = sh.ok(&inside(&format!("wget -qO- http://{address}/client")));
    let own = sh.ok("kubectl get pod client -o jsonpath={.status.podIP}");
    assert_eq!(seen.trim(), own, "the server sees the client's own address");

    // A Service without endpoints is refused at once.
    sh.ok("kubectl scale deployment web --replicas=0");
    sh.ok("kubectl wait --for=delete pod -l app=web --timeout=60s");
    let refused = sh.ok(&format!(
        "for i in $(seq 100); do curl -sm 5 -o /dev/null http://{address}; code=$?; \
         if [ $code = 7 ]; then echo refused; break; fi; done"
    ));
    assert_eq!(refused, "refused\n");
    let said = sh.fails(&inside(&format!("wget -qO- http://{address}")));
    assert!(said.contains("Connection refused"), "{said}");
    sh.ok("kubectl delete service web");
}

fn node_port(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&format!("{}\n{}", kubia("solo"), pod("client", STAY)));
    sh.ok("kubectl label pod solo app=solo");
    sh.ok("kubectl expose pod solo --type=NodePort --port=80 --target-port=8080");
    sh.ok("kubectl wait --for=condition=Ready pod/solo pod/client --timeout=60s");
    let port = value(sh, "solo", "{.spec.ports[0].nodePort}");
    let node = sh.ok("kubectl get pod solo -o jsonpath={.status.hostIP}");
    for address in ["127.0.0.1", &node] {
        let retried = "--retry 30 --retry-all-errors --retry-delay 1";
        let hit = sh.ok(&format!("curl -s {retried} http://{address}:{port}"));
        assert!(hit.contains("You've hit solo"), "{hit}");
    }
    let hit = sh.ok(&format!("kubectl exec client -- wget -qO- http://{node}:{port}"));
    assert!(hit.contains("You've hit solo"), "{hit}");
    let listed = sh.ok("kubectl get service solo --no-headers");
    assert!(listed.contains(&format!("80:{port}/TCP")), "{listed}");
}

/// Talks over one connection through a Service while the server is killed and started anew.
fn killed_server(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("kept", 1);
    let mut echo = pod("echo", "nc -ll -p 7000 -e cat");
    echo["metadata"]["labels"] = json!({"app": "echo"});
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    sh.apply(&echo.to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/echo --timeout=60s");
    sh.ok("kubectl expose pod echo --port=7 --target-port=7000");
    let address: SocketAddr =
        format!("{}:7", value(&sh, "echo", "{.spec.clusterIP}")).parse().expect("an address");
    sh.ok(&format!("timeout 30 bash -c 'until (echo >/dev/tcp/{}/7) 2>/dev/null; do :; done'", address.ip()));
    let mut held = TcpStream::connect(address).expect("the Service answers");
    held.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let mut speak = |word: &[u8; 4]| {
        held.write_all(word).expect("sent");
        let mut heard = [0; 4];
        held.read_exact(&mut heard).expect("echoed");
        assert_eq!(&heard, word);
    };
    speak(b"here");
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    speak(b"dead");
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).expect("new connections are made meanwhile");
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the server comes up again");
    speak(b"back");
    sh.ok("kubectl create service clusterip other --tcp=80");
    let other = value(&sh, "other", "{.spec.clusterIP}");
    sh.ok(&format!(
        "timeout 30 sh -c 'while :; do curl -sm 2 -o /dev/null http://{other}; [ $? != 7 ] || exit 0; done'"
    ));
    speak(b"same");
    cluster.take_down().expect("nothing of it is left");
}
