//! Several nodes on one machine, as `knarr up --nodes` makes them: machines of their own, as far as pods and users see.

use std::fs;

use serde_json::{Value, json};
use testing::{Cluster, Machine, Shell};

use crate::leftovers::{slot, traces};
use crate::manifests::{STAY, kubia, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w001m_nodes_of_one_machine_are_machines_of_their_own", three),
    ("w001n_nodes_are_added_come_back_and_leave_nothing", added),
];

fn on(mut manifest: Value, node: &str) -> Value {
    manifest["spec"]["nodeName"] = node.into();
    manifest
}

/// A web server and a client on each node.
fn populate(sh: &Shell, nodes: &[&str]) {
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let pods = nodes.iter().enumerate().flat_map(|(number, node)| {
        let mut web = on(kubia(&format!("web-{number}")), node);
        web["metadata"]["labels"] = json!({"app": "kubia"});
        let mut host = on(pod(&format!("host-{number}"), STAY), node);
        host["spec"]["hostNetwork"] = true.into();
        let mut client = on(pod(&format!("client-{number}"), &format!("echo {number}; {STAY}")), node);
        client["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 7070}]);
        [web, host, client].map(|pod| pod.to_string())
    });
    sh.apply(&pods.collect::<Vec<_>>().join("\n"));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=90s");
}

fn three(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("trio", 3);
    let names = sh.ok("kubectl get nodes -o jsonpath={.items[*].metadata.name}");
    let nodes: Vec<&str> = names.split(' ').collect();
    assert_eq!(nodes.len(), 3, "{names}");
    assert!(cluster.said.contains(&format!("nodes {} are Ready", nodes.join(", "))), "{}", cluster.said);
    let addresses = sh.ok(
        "kubectl get nodes -o jsonpath='{.items[*].status.addresses[?(@.type==\"InternalIP\")].address}'",
    );
    let addresses: Vec<&str> = addresses.split(' ').collect();
    assert!(
        addresses.len() == 3 && addresses[1] != addresses[2] && addresses[0] != addresses[1],
        "{addresses:?}"
    );
    // They have joined as machines do, and nobody else can with what they had.
    assert!(!sh.ok("kubectl get secrets -n kube-system -o name").contains("bootstrap-token-"));
    // Three certificates each, the last of which a Ready node may still wait for.
    let signed = "kubectl get csr --no-headers | grep -c Approved,Issued";
    sh.ok(&format!("timeout 30 bash -c 'until [ $({signed}) = 6 ]; do sleep 0.2; done'"));

    // Each has parts of its own to show.
    sh.ok("kubectl wait -n kube-system --for=condition=Ready pod --all --timeout=30s");
    let parts =
        sh.ok("kubectl get pods -n kube-system -l k8s-app=kube-dns -o jsonpath={.items[*].spec.nodeName}");
    assert_eq!(parts, names, "the cluster's DNS answers on each node");
    assert_eq!(sh.ok("kubectl get pods -n kube-system -l tier=control-plane -o name").lines().count(), 3);

    populate(&sh, &nodes);
    reach_each_other(&sh, &addresses);
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(sh.ok(&format!("kubectl exec host-{number} -- hostname")), format!("{node}\n"));
        assert_eq!(sh.ok(&format!("kubectl logs client-{number}")), format!("{number}\n"));
        let asked = format!("kubectl exec client-{number} -- nslookup kubia.default.svc.cluster.local");
        assert!(sh.ok(&asked).contains("Name:"), "{asked}");
    }
    let mut forward = sh.start("kubectl port-forward pod/web-2 7171:8080");
    forward.wait_until("the port", |line| line.contains("Forwarding from 127.0.0.1:7171"));
    assert!(sh.ok("curl -s -m 10 http://127.0.0.1:7171").contains("You've hit web-2"));
    drop(forward);
    outside(scene, &cluster, &sh);
    cordon_and_drain(&cluster, &sh, nodes[2]);
    cluster.take_down().expect("nothing of it is left");
}

fn reach_each_other(sh: &Shell, addresses: &[&str]) {
    let ip = |pod: &str| sh.ok(&format!("kubectl get pod {pod} -o jsonpath={{.status.podIP}}"));
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 2)] {
        let (client, server) = (ip(&format!("client-{from}")), ip(&format!("web-{to}")));
        let ask = format!("kubectl exec client-{from} -- wget -qO- http://{server}:8080");
        assert!(sh.ok(&ask).contains(&format!("You've hit web-{to}")));
        assert_eq!(sh.ok(&format!("{ask}/client")).trim(), client, "web-{to} sees the pod's own address");
    }
    // A Service leads to pods of all nodes: for pods, and by the port on each node's own address.
    sh.ok("kubectl create service nodeport kubia --tcp=80:8080");
    let port = sh.ok("kubectl get service kubia -o jsonpath={.spec.ports[0].nodePort}");
    let inside = (0..3).map(|number| format!("kubectl exec client-{number} -- wget -qO- http://kubia"));
    let nodes = addresses.iter().map(|address| format!("curl -s -m 5 http://{address}:{port}"));
    for ask in inside.chain(nodes) {
        for pod in ["web-0", "web-1", "web-2"] {
            sh.ok(&format!("timeout 60 sh -c 'until {ask} | grep -q {pod}; do :; done' 2>/dev/null"));
        }
    }
}

/// Pods of every node reach what knows nothing of the cluster, under the machine's own address.
fn outside(scene: &Scene, cluster: &Cluster, sh: &Shell) {
    let tag = &scene.cluster().fixtures.tag;
    let world = Machine::make(&format!("world-{tag}")).expect("the outside world");
    let reached = world.run("ip route del default").map(|()| {
        let address = world.address(2);
        (0..3)
            .map(|number| sh.run(&format!("kubectl exec client-{number} -- ping -c 1 -w 10 {address}")).code)
            .collect()
    });
    world.remove().expect("removed");
    let codes: Vec<i32> = reached.expect("the outside world");
    assert_eq!(codes, [0, 0, 0], "{}", cluster.log_tail(5));
}

fn cordon_and_drain(cluster: &Cluster, sh: &Shell, node: &str) {
    sh.ok(&format!("kubectl cordon {node}"));
    assert!(sh.ok(&format!("kubectl get node {node} --no-headers")).contains("Ready,SchedulingDisabled"));
    let refused = sh.fails(&format!("kubectl drain {node}"));
    assert!(refused.contains("cannot delete Pods that declare no controller"), "{refused}");
    sh.ok("kubectl create deployment moves --image=luksa/kubia --replicas=4 && kubectl rollout status deployment/moves --timeout=60s");
    let on_node = format!("kubectl get pods -o name --field-selector spec.nodeName={node}");
    assert!(!sh.ok(&on_node).contains("moves"), "nothing new comes to it");
    // A budget keeps its pods where they are, until it lets go.
    sh.apply(&on(pod("kept", STAY), node).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/kept --timeout=60s");
    sh.ok("kubectl create poddisruptionbudget kept --selector=app=kept --min-available=1");
    let refused = sh.fails(&format!("kubectl drain {node} --force --ignore-daemonsets --timeout=8s"));
    assert!(
        refused.contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{refused}"
    );
    assert!(sh.ok(&on_node).contains("kept"));
    sh.ok("kubectl patch pdb kept -p '{\"spec\": {\"minAvailable\": 0}}'");
    let drained = sh.ok(&format!("kubectl drain {node} --force --ignore-daemonsets --timeout=60s"));
    assert!(drained.contains(&format!("node/{node} drained")), "{drained}");
    assert_eq!(sh.ok(&on_node), "");
    sh.ok(&format!("kubectl uncordon {node}"));
    sh.apply(&on(pod("again", STAY), node).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/again --timeout=60s");
    // A node that is deleted takes its pods along, and is there again when its process starts again.
    sh.ok(&format!("kubectl delete node {node} && kubectl wait --for=delete pod/again --timeout=110s"));
    sh.ok(&format!(
        "kill -KILL {} && kubectl wait --for=create node/{node} --timeout=60s",
        agent_pid(cluster, 2)
    ));
    sh.ok(&format!("kubectl wait --for=condition=Ready node/{node} --timeout=60s"));
    // What the node's agent said of it.
    for reason in ["NodeNotSchedulable", "NodeSchedulable"] {
        let told = format!(
            "kubectl get events --field-selector reason={reason},involvedObject.name={node} -o jsonpath='{{.items[0].message}}'"
        );
        assert_eq!(sh.ok(&told), format!("Node {node} status is now: {reason}"));
    }
}

/// The process id of a member's agent.
fn agent_pid(cluster: &Cluster, index: u8) -> String {
    let record = fs::read_to_string(format!("/run/knarr/{}/node{index}/agent.pid", cluster.name()))
        .unwrap_or_default();
    let digits = record.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
    digits.collect()
}

fn added(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("added", 1);
    let first = sh.ok("kubectl get nodes -o jsonpath={.items[0].metadata.name}");
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    sh.apply(&on(pod("here", STAY), &first).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/here --timeout=60s");
    let said = cluster.knarr(&["up", "--no-kubeconfig", "--nodes", "2"]).expect("another node");
    assert!(said.contains(&format!("nodes {first}, {first}-m02 are Ready")), "{said}");
    let second = format!("{first}-m02");
    for image in &cluster.fixtures.images {
        cluster.knarr(&["image", "import", image.to_str().expect("UTF-8")]).expect("imported");
    }
    sh.apply(&on(pod("there", STAY), &second).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/there --timeout=60s");
    // Fewer nodes are asked for: none goes.
    let said = cluster.knarr(&["up", "--no-kubeconfig", "--nodes", "1"]).expect("nothing is to be done");
    assert!(said.contains("keeps its 2 nodes: --nodes adds nodes and removes none"), "{said}");

    // A node's process that dies is started again; the server's death takes it along; containers run on.
    let ready = format!("kubectl wait --for=condition=Ready node/{second} pod/there pod/here --timeout=60s");
    let pid = agent_pid(&cluster, 1);
    let again = format!(
        "timeout 60 bash -c 'until grep -q pid /run/knarr/{name}/node1/agent.pid && ! grep -q :{pid}, /run/knarr/{name}/node1/agent.pid; do sleep 0.1; done'",
        name = cluster.name()
    );
    sh.ok(&format!("kill -KILL {pid} && {again}"));
    assert!(cluster.log_tail(200).contains("a node of this machine has ended and is started again"));
    sh.apply(&on(pod("later", STAY), &second).to_string());
    sh.ok(&format!("kubectl wait --for=condition=Ready pod/later --timeout=60s && {ready}"));
    let (server, pid) = (cluster.server_pid().expect("the server's process"), agent_pid(&cluster, 1));
    sh.ok(&format!("kill -KILL {server} && timeout 30 tail --pid={server} --pid={pid} -f /dev/null"));
    let said = cluster.knarr(&["up", "--no-kubeconfig"]).expect("all come up again");
    assert!(said.contains(&format!("nodes {first}, {second} are Ready")), "{said}");
    sh.ok(&ready);
    for pod in ["here", "there", "later"] {
        let restarts =
            format!("kubectl get pod {pod} -o jsonpath={{.status.containerStatuses[0].restartCount}}");
        assert_eq!(sh.ok(&restarts), "0", "{pod}");
    }
    assert!(sh.ok("kubectl exec there -- nslookup kubernetes.default.svc.cluster.local").contains("Name:"));

    // Killed as a whole, it is found by its name.
    let (name, slot) = (cluster.name().to_owned(), slot(scene, cluster.name()));
    let before = traces(scene, &name, &slot);
    for trace in
        [format!("knarr{slot}nodes1"), format!("/run/knarr/{name}/node1/netns"), "knarr agent".to_owned()]
    {
        assert!(before.contains(&trace), "{trace} is missing in\n{before}");
    }
    let server = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {server}"));
    cluster.take_down().expect("nothing of it is left");
    assert_eq!(traces(scene, &name, &slot), "");
}
