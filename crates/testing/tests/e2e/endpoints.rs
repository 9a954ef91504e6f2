//! Section H: who answers for a Service, in Endpoints and EndpointSlices: W131's half without packets. Load balancers'
//! addresses: W132's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::{Value, json};
use testing::{Cluster, Shell};

use crate::manifests::{STAY, container, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w131a_endpoints_follow_the_pods_of_a_service", follow),
    ("w131b_endpoints_of_users_are_mirrored", mirrored),
    ("w131d_the_api_service_follows_the_address_of_the_machine", moved),
    ("w131f_the_node_follows_the_address_of_the_machine", node_moved),
    ("w131e_endpoints_of_named_ports_are_those_of_each_pod", multiport),
    ("w132a_load_balancers_have_the_nodes_addresses", balanced),
    ("f013_a_server_killed_amid_1000_endpoint_changes_loses_none", killed),
];

/// Waits until the Service's only slice, and its Endpoints, have so many endpoints, which are all ready.
fn ready(sh: &Shell, service: &str, number: usize) {
    let until = |what: &str, path: &str, is_done: &dyn Fn(&str) -> bool| {
        let mut watch = sh.start(&format!("kubectl get {what} -w -o jsonpath='{path}{{\"\\n\"}}'"));
        watch.wait_until("all ready", is_done);
    };
    let states = vec!["true"; number].join(" ");
    let slices = format!("endpointslices -l kubernetes.io/service-name={service}");
    until(&slices, "{.endpoints[*].conditions.ready}", &|line| line.trim() == states);
    until(&format!("endpoints {service}"), "{.subsets[*].addresses[*].ip}", &|line| {
        line.split_whitespace().count() == number
    });
}

/// Waits until the Service has a slice.
fn appears(sh: &Shell, service: &str) {
    let names = "-o custom-columns=N:.metadata.name --no-headers";
    let slices = format!("kubectl get endpointslices -l kubernetes.io/service-name={service} -w {names}");
    sh.start(&slices).wait_until("a slice", |name| name.starts_with(&format!("{service}-")));
}

/// The slices of a Service.
fn slices(sh: &Shell, service: &str) -> Vec<Value> {
    let said = sh.ok(&format!("kubectl get endpointslices -l kubernetes.io/service-name={service} -o json"));
    let list: Value = serde_json::from_str(&said).expect("JSON");
    list["items"].as_array().cloned().expect("a list")
}

fn addresses(slice: &Value) -> Vec<String> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let mut all: Vec<String> =
        endpoints.map(|endpoint| endpoint["addresses"][0].as_str().unwrap_or("").to_owned()).collect();
    all.sort();
    all
}

fn follow(scene: &Scene) {
    let sh = &scene.shell;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"tier": "x"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}});
    let mut deployment = replicated("apps/v1", "Deployment", "web", 2);
    deployment["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"name": "web", "containerPort": 8080}]);
    sh.apply(&service.to_string());
    appears(sh, "web");
    let table = sh.ok("kubectl get endpointslices");
    assert!(
        table.contains("<unset>   <unset>"),
        "a Service without pods has a slice without endpoints: {table}"
    );

    sh.apply(&deployment.to_string());
    sh.ok("kubectl rollout status deployment web --timeout=60s");
    ready(sh, "web", 2);
    let [slice] = &slices(sh, "web")[..] else { panic!("not one slice") };
    let pods =
        sh.ok("kubectl get pods -l app=web -o jsonpath='{range .items[*]}{.status.podIP}{\"\\n\"}{end}'");
    let mut ips: Vec<String> = pods.lines().map(str::to_owned).collect();
    ips.sort();
    assert_eq!(addresses(slice), ips);
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let labels = json!({"tier": "x", "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
    assert_eq!(slice["metadata"]["labels"], labels);
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    let listed = sh.ok("kubectl get endpoints web");
    assert!(ips.iter().all(|ip| listed.contains(&format!("{ip}:8080"))), "{listed}");

    let version = slice["metadata"]["resourceVersion"].clone();
    sh.ok("kubectl annotate pod -l app=web note=this");
    sh.ok("kubectl scale deployment web --replicas=3");
    ready(sh, "web", 3);
    let [grown] = &slices(sh, "web")[..] else { panic!("not one slice") };
    assert_eq!(grown["metadata"]["name"], slice["metadata"]["name"], "the same slice");
    assert_ne!(grown["metadata"]["resourceVersion"], version);
    sh.ok("kubectl delete endpoints web");
    sh.ok("kubectl delete endpointslice -l kubernetes.io/service-name=web");
    appears(sh, "web");
    sh.ok("kubectl wait endpoints/web --for=create --timeout=30s");
    ready(sh, "web", 3);
    let gone = "kubectl wait endpointslice -l kubernetes.io/service-name=web --for=delete --timeout=60s";
    sh.ok(&format!("kubectl delete service web && {gone}"));
    sh.ok("kubectl wait endpoints/web --for=delete --timeout=60s");
}

fn balanced(scene: &Scene) {
    let sh = &scene.shell;
    let service = |name: &str, port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": port}]}})
    };
    let ip = "--for=jsonpath='{.status.loadBalancer.ingress[0].ip}' --timeout=10s";
    sh.apply(&service("first", 18_080).to_string());
    sh.ok(&format!("kubectl wait service/first {ip}"));
    let node = sh.ok(
        "kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'",
    );
    let table = sh.ok("kubectl get service first");
    assert!(table.contains(&format!(" {node} ")), "{table}");
    // A port of the nodes' addresses is one Service's, until that gives it back.
    sh.apply(&service("second", 18_080).to_string());
    sh.ok("kubectl wait service/second --for=jsonpath={.spec.type}=LoadBalancer");
    let why = "port 18080/TCP of the nodes is taken by Service w132a/first";
    let mut events = sh.start("kubectl get events -w -o custom-columns=M:.message --no-headers");
    events.wait_until("why it waits", |line| line.ends_with(why));
    assert!(sh.ok("kubectl get service second").contains("<pending>"));
    sh.ok("kubectl patch service first -p '{\"spec\": {\"type\": \"ClusterIP\"}}'");
    sh.ok(&format!("kubectl wait service/second {ip}"));
    assert_eq!(sh.ok("kubectl get service first -o jsonpath={.status}"), "{\"loadBalancer\":{}}");
    let mut other = service("other", 18_081);
    other["spec"]["loadBalancerClass"] = "example.com/other".into();
    sh.apply(&other.to_string());
    sh.apply(&service("third", 18_082).to_string());
    sh.ok(&format!("kubectl wait service/third {ip}"));
    assert!(sh.ok("kubectl get service other").contains("<pending>"), "somebody else's");
}

/// A Service of two ports, each of which another pod has.
fn multiport(scene: &Scene) {
    let sh = &scene.shell;
    let ports = json!([{"name": "a", "port": 80, "targetPort": "one"}, {"name": "b", "port": 81, "targetPort": "two"}]);
    let spec = json!({"selector": {"in": "multi"}, "ports": ports});
    sh.apply(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "multi"}, "spec": spec})
            .to_string(),
    );
    let mut watch = sh.start("kubectl get endpoints -w -o jsonpath='{.subsets[*].ports[*].port};{\"\\n\"}'");
    // Subsets are in the order of their addresses.
    let mut until = |ports: &str| {
        watch.wait_until(ports, |line| {
            let mut there: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
            there.sort_unstable();
            line.ends_with(';') && there.join(" ") == ports
        })
    };
    until("");
    let run = |name: &str, port: u16| {
        let mut made = pod(name, STAY);
        made["metadata"]["labels"] = json!({"in": "multi"});
        made["spec"]["containers"][0]["ports"] = json!([{"name": name, "containerPort": port}]);
        sh.apply(&made.to_string());
        sh.ok(&format!("kubectl wait --for=condition=Ready pod/{name} --timeout=60s"));
    };
    run("one", 100);
    until("100");
    run("two", 101);
    until("100 101");
    let mut told: Vec<(Vec<String>, Value)> =
        slices(sh, "multi").iter().map(|slice| (addresses(slice), slice["ports"].clone())).collect();
    told.sort_by_key(|(addresses, _)| addresses.clone());
    let mut real: Vec<(Vec<String>, Value)> = Vec::new();
    for (name, port, number) in [("one", "a", 100), ("two", "b", 101)] {
        let ip = sh.ok(&format!("kubectl get pod {name} -o jsonpath={{.status.podIP}}"));
        real.push((vec![ip], json!([{"name": port, "port": number, "protocol": "TCP"}])));
    }
    real.sort_by_key(|(addresses, _)| addresses.clone());
    assert_eq!(told, real, "a slice for each set of ports");
    sh.ok("kubectl delete pod one --timeout=60s");
    until("101");
    sh.ok("kubectl delete pod two --timeout=60s");
    until("");
}

/// In a network namespace of its own, whose only link gets other addresses.
const MOVES: &str = r"
set -e
ip link set lo up
ip link add outer type veth peer name inner
ip link set outer up
ip link set inner up
ip addr add 198.51.100.5/24 dev outer
ip route add default via 198.51.100.1 dev outer
knarr up --name moves --data-dir $PWD/moves --no-kubeconfig --nodes 0
trap 'knarr down --name moves --data-dir $PWD/moves' EXIT
export KUBECONFIG=/etc/knarr/moves.kubeconfig
kubectl get endpoints kubernetes
ip addr add 203.0.113.7/24 dev outer
ip addr del 198.51.100.5/24 dev outer
ip route replace default via 203.0.113.1 dev outer
kubectl wait endpoints/kubernetes --for='jsonpath={.subsets[*].addresses[*].ip}=203.0.113.7' --timeout=10s
kubectl wait endpointslice/kubernetes --for='jsonpath={.endpoints[*].addresses[0]}=203.0.113.7' --timeout=10s
kubectl --server=https://203.0.113.7:$(kubectl get endpoints kubernetes -o 'jsonpath={.subsets[0].ports[0].port}') version
";

/// The same, with a node.
const NODE_MOVES: &str = r#"
set -e
ip link set lo up
ip link add outer type veth peer name inner
ip link set outer up
ip link set inner up
ip addr add 198.51.100.5/24 dev outer
ip route add default via 198.51.100.1 dev outer
knarr up --name follows --data-dir $PWD/follows --no-kubeconfig
trap 'knarr down --name follows --data-dir $PWD/follows' EXIT
export KUBECONFIG=/etc/knarr/follows.kubeconfig
kubectl create service loadbalancer web --tcp=80
node=$(kubectl get nodes -o name)
part=pod/kube-apiserver-${node#node/}
kubectl wait $part -n kube-system --for=create --timeout=10s
at='jsonpath={.status.addresses[?(@.type=="InternalIP")].address}'
balanced='jsonpath={.status.loadBalancer.ingress[*].ip}'
kubectl wait $node --for="$at=198.51.100.5" --timeout=10s
kubectl wait service/web --for="$balanced=198.51.100.5" --timeout=10s
kubectl wait $part -n kube-system --for='jsonpath={.status.podIPs[*].ip}=198.51.100.5' --timeout=10s
ip addr add 203.0.113.7/24 dev outer
ip addr del 198.51.100.5/24 dev outer
ip route replace default via 203.0.113.1 dev outer
kubectl wait $node --for="$at=203.0.113.7" --timeout=5s
kubectl wait service/web --for="$balanced=203.0.113.7" --timeout=5s
kubectl wait $part -n kube-system --for='jsonpath={.status.podIPs[*].ip}=203.0.113.7' --timeout=5s
kubectl wait $part -n kube-system --for='jsonpath={.status.hostIP}=203.0.113.7' --timeout=5s
kubectl get --raw /api/v1/nodes/${node#node/}/proxy/healthz
"#;

fn moved(scene: &Scene) {
    let sh = &scene.shell;
    sh.file("moves.sh", MOVES);
    let said = sh.ok("unshare --net bash moves.sh");
    assert!(said.contains("198.51.100.5:6"), "{said}");
    assert!(said.contains("Server Version"), "the certificate is for the new address: {said}");
}

fn node_moved(scene: &Scene) {
    let sh = &scene.shell;
    sh.file("moves.sh", NODE_MOVES);
    let said = sh.ok("unshare --net bash moves.sh");
    assert!(said.contains("condition met\nok"), "the node's certificate is for the new address: {said}");
}

fn mirrored(scene: &Scene) {
    let sh = &scene.shell;
    let port = json!([{"name": "http", "port": 80}]);
    let service =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "own"}, "spec": {"ports": port}});
    let endpoints = |ips: &[&str]| {
        let addresses: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "own"},
            "subsets": [{"addresses": addresses, "ports": port}]})
    };
    sh.apply(&format!("{service}\n{}", endpoints(&["10.1.2.3"])));
    let wait = "kubectl wait endpointslice -l kubernetes.io/service-name=own --timeout=30s --for";
    appears(sh, "own");
    let [slice] = &slices(sh, "own")[..] else { panic!("not one slice") };
    assert_eq!(addresses(slice), ["10.1.2.3"]);
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 80, "protocol": "TCP"}]));
    let manager = &slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
    assert_eq!(manager, "endpointslicemirroring-controller.k8s.io");
    sh.apply(&endpoints(&["10.1.2.4", "10.1.2.5"]).to_string());
    sh.ok(&format!("{wait}=jsonpath='{{.endpoints[1].addresses[0]}}'=10.1.2.5"));
    let [changed] = &slices(sh, "own")[..] else { panic!("not one slice") };
    assert_eq!(changed["metadata"]["name"], slice["metadata"]["name"]);
    assert_eq!(addresses(changed), ["10.1.2.4", "10.1.2.5"]);
    sh.ok(&format!("kubectl delete endpoints own && {wait}=delete"));
}

/// Services that select the same pods, so that a pod's label changes so many endpoints.
const SERVICES: usize = 50;
const PODS: usize = 20;

fn killed(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("edges", 1);
    let mut deployment = replicated("apps/v1", "Deployment", "many", 20);
    deployment["spec"]["template"]["spec"]["containers"] = json!([container("main", STAY)]);
    sh.apply(&deployment.to_string());
    sh.ok("kubectl rollout status deployment many --timeout=60s");
    let services = (0..SERVICES).map(|n| {
        let spec = json!({"selector": {"on": "yes"}, "ports": [{"port": 80}]});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{n}")}, "spec": spec})
            .to_string()
    });
    sh.apply(&services.collect::<Vec<_>>().join("\n"));
    all_have(&sh, 0);
    for (value, endpoints) in [("yes", PODS), ("no", 0)] {
        label_and_kill(&cluster, &sh, value);
        sh.ok(&format!("kubectl label pods --all on={value} --overwrite"));
        all_have(&sh, endpoints);
    }
    drop(sh);
    cluster.take_down().expect("the cluster ends cleanly");
}

/// Labels all pods and kills the server when a part of the slices has been written; brings the server back.
fn label_and_kill(cluster: &Cluster, sh: &Shell, value: &str) {
    let pid = cluster.server_pid().expect("the server's process");
    let mut changes = sh.start("kubectl get endpointslices -w -o name");
    let mut labels = sh.start(&format!("kubectl label pods --all on={value} --overwrite"));
    labels.wait_until("a labelled pod", |line| line.ends_with(" labeled"));
    let seen = Cell::new(0);
    // Those there, and half of the changes that there are at least: pods that change at once are written at once.
    changes.wait_until("changes", |_| seen.replace(seen.get() + 1) >= SERVICES + SERVICES / 2);
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the server comes up again");
}

/// Waits until every Service has one slice, with so many endpoints, and Endpoints with as many.
fn all_have(sh: &Shell, endpoints: usize) {
    for what in ["endpointslices", "endpoints"] {
        let paths = "{.endpoints[*].addresses[0]}{.subsets[*].addresses[*].ip}";
        let mut watch =
            sh.start(&format!("kubectl get {what} -w -o jsonpath='{{.metadata.name}} {paths}{{\"\\n\"}}'"));
        let counts: RefCell<BTreeMap<String, usize>> = RefCell::default();
        watch.wait_until("all endpoints", |line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let name = words.next().filter(|name| name.starts_with('s'));
            counts.borrow_mut().extend(name.map(|name| (name, words.count())));
            let counts = counts.borrow();
            counts.len() >= SERVICES && counts.values().all(|count| *count == endpoints)
        });
    }
    let names = "{range .items[*]}{.metadata.labels.kubernetes\\.io/service-name}{\"\\n\"}{end}";
    let owners = sh.ok(&format!("kubectl get endpointslices -o jsonpath='{names}' | sort | uniq -d"));
    assert_eq!(owners, "", "Services with more than one slice");
}
