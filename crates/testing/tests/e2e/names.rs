//! Section H: names, variables, affinity and changes of Services: W029, W131, W133, W134.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, kubia, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w029_host_ports_lead_to_the_pod_and_clash_by_address_and_protocol", w029),
    ("w131h_clients_stay_with_an_endpoint_as_long_as_a_service_says", affinity),
    ("w131i_a_service_changes_its_type", types),
    ("w131j_ports_go_to_their_targets", ports),
    ("w133_services_become_variables", w133),
    ("w134_names_are_those_of_the_specification", w134),
    ("w134a_the_rules_of_dns_are_a_config_map", rules),
];

fn inside(sh: &Shell, command: &str) -> String {
    sh.ok(&format!("kubectl exec client -- sh -c '{command}'"))
}

fn value(sh: &Shell, what: &str, path: &str) -> String {
    sh.ok(&format!("kubectl get {what} -o jsonpath='{path}'"))
}

/// Runs a command in the client until it succeeds; what it prints then.
fn until(sh: &Shell, command: &str) -> String {
    sh.ok(&format!("timeout 60 sh -c 'until kubectl exec client -- {command}; do :; done' 2>/dev/null"))
}

fn w029(scene: &Scene) {
    let sh = &scene.shell;
    let with_port = |name: &str, port: Value| {
        let mut manifest = kubia(name);
        manifest["spec"]["containers"][0]["ports"] = json!([port]);
        manifest
    };
    let first = with_port("first", json!({"containerPort": 8080, "hostPort": 38888, "hostIP": "127.0.0.1"}));
    let by_address =
        with_port("by-address", json!({"containerPort": 8080, "hostPort": 38888, "hostIP": "127.0.0.2"}));
    let by_protocol = with_port(
        "by-protocol",
        json!({"containerPort": 8080, "hostPort": 38888, "hostIP": "127.0.0.1", "protocol": "UDP"}),
    );
    let clash = with_port("clash", json!({"containerPort": 8080, "hostPort": 38888}));
    sh.apply(&format!("{first}\n{by_address}\n{by_protocol}"));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    for (address, name) in [("127.0.0.1", "first"), ("127.0.0.2", "by-address")] {
        assert!(sh.ok(&format!("curl -s http://{address}:38888")).contains(&format!("You've hit {name}")));
    }
    sh.apply(&clash.to_string());
    sh.ok(
        "kubectl wait --for=jsonpath='{.status.conditions[0].reason}'=Unschedulable pod/clash --timeout=60s",
    );
    let why = value(sh, "pod clash", "{.status.conditions[0].message}");
    assert!(why.contains("1 node(s) didn't have free ports for the requested pod ports"), "{why}");
    sh.ok("kubectl delete pod first by-address by-protocol");
    sh.ok("kubectl wait --for=condition=Ready pod/clash --timeout=60s");
    assert!(sh.ok("curl -s http://127.0.0.1:38888").contains("You've hit clash"), "on every address");
}

fn affinity(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&format!("{}\n{}", replicated("apps/v1", "Deployment", "web", 3), pod("client", STAY)));
    sh.ok("kubectl expose deployment web --type=NodePort --port=80 --target-port=8080 --session-affinity=ClientIP");
    sh.ok("kubectl rollout status deployment web --timeout=60s");
    sh.ok("kubectl wait --for=condition=Ready pod/client --timeout=60s");
    let address = value(sh, "service web", "{.spec.clusterIP}");
    let node_port = value(sh, "service web", "{.spec.ports[0].nodePort}");
    let node = value(sh, "pod client", "{.status.hostIP}");
    until(sh, &format!("wget -qO- http://{address}"));
    let hit = |url: &str| {
        let said = inside(sh, &format!("for i in $(seq 20); do wget -qO- http://{url}/hostname; done"));
        let mut who: Vec<&str> = said.lines().collect();
        assert_eq!(who.len(), 20, "{said}");
        who.dedup();
        who.len()
    };
    for url in [address.clone(), format!("{node}:{node_port}")] {
        assert_eq!(hit(&url), 1, "one endpoint for {url}");
    }
    sh.ok("kubectl patch service web -p '{\"spec\": {\"sessionAffinity\": \"None\"}}'");
    let many = |url: &str| {
        let script = format!(
            "first=$(wget -qO- http://{url}/hostname); while [ $(wget -qO- http://{url}/hostname) = $first ]; do :; done"
        );
        inside(sh, &format!("timeout 30 sh -c \"{}\"", script.replace('$', "\\$")));
    };
    many(&address);
    many(&format!("{node}:{node_port}"));
    // Once a client has been silent for that long, another endpoint may be chosen.
    let patch = json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}});
    sh.ok(&format!("kubectl patch service web -p '{patch}'"));
    let silent = format!(
        "first=$(wget -qO- http://{address}/hostname); while [ $(wget -qO- http://{address}/hostname) = $first ]; do sleep 2; done"
    );
    inside(sh, &format!("timeout 60 sh -c \"{}\"", silent.replace('$', "\\$")));
}

fn types(scene: &Scene) {
    let (sh, namespace) = (&scene.shell, &scene.namespace);
    sh.apply(&format!("{}\n{}", replicated("apps/v1", "Deployment", "web", 1), pod("client", STAY)));
    sh.ok("kubectl create service externalname moved --external-name other.example.org");
    sh.ok("kubectl rollout status deployment web --timeout=60s");
    sh.ok("kubectl wait --for=condition=Ready pod/client --timeout=60s");
    let name = format!("moved.{namespace}.svc.cluster.local");
    assert_eq!(value(sh, "service moved", "{.spec.clusterIP}"), "");
    let cluster_ip = json!({"spec": {"type": "ClusterIP", "externalName": null, "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080}]}});
    sh.ok(&format!("kubectl patch service moved -p '{cluster_ip}'"));
    let address = value(sh, "service moved", "{.spec.clusterIP}");
    assert!(!address.is_empty());
    assert!(until(sh, &format!("wget -qO- http://{address}")).contains("You've hit web-"));
    assert!(until(sh, &format!("nslookup -type=a {name}")).contains(&address));
    sh.ok("kubectl patch service moved -p '{\"spec\": {\"type\": \"NodePort\"}}'");
    let node_port = value(sh, "service moved", "{.spec.ports[0].nodePort}");
    let node = value(sh, "pod client", "{.status.hostIP}");
    assert!(until(sh, &format!("wget -qO- http://{node}:{node_port}")).contains("You've hit web-"));
    let external = json!({"spec": {"type": "ExternalName", "externalName": "other.example.org", "clusterIP": null,
        "clusterIPs": null, "ports": null, "selector": null}});
    sh.ok(&format!("kubectl patch service moved -p '{external}'"));
    assert_eq!(value(sh, "service moved", "{.spec.clusterIP}{.spec.ports[0].nodePort}"), "");
    // Nobody listens at the node port any more, and the address may be given to another.
    sh.ok(&format!("timeout 30 sh -c 'while :; do curl -sm 2 -o /dev/null http://{node}:{node_port}; [ $? != 7 ] || exit 0; done'"));
    let again = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "again"},
        "spec": {"type": "NodePort", "clusterIP": address, "ports": [{"port": 80, "nodePort": node_port.parse::<u16>().expect("a port")}]}});
    sh.apply(&again.to_string());
    assert!(until(sh, &format!("nslookup -type=cname {name}")).contains("other.example.org"));
}

fn ports(scene: &Scene) {
    let sh = &scene.shell;
    let serving = |name: &str, port: u16| {
        let mut manifest = pod(name, &format!("echo {name} > /tmp/who; exec httpd -f -p {port} -h /tmp"));
        manifest["metadata"]["labels"] = json!({"app": "both"});
        manifest["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": port}]);
        manifest
    };
    sh.apply(&format!("{}\n{}\n{}", serving("one", 7001), serving("two", 7002), pod("client", STAY)));
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "both"}, "spec": {
        "selector": {"app": "both"}, "ports": [
            {"name": "named", "port": 80, "targetPort": "web"}, {"name": "second", "port": 81, "targetPort": 7002}]}});
    // Without a selector: what its own Endpoints say.
    let own = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "own"}, "spec": {"ports": [{"port": 80}]}});
    sh.apply(&format!("{service}\n{own}"));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    let one = value(sh, "pod one", "{.status.podIP}");
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "own"},
        "subsets": [{"addresses": [{"ip": one}], "ports": [{"port": 7001}]}]});
    sh.apply(&endpoints.to_string());
    let both = value(sh, "service both", "{.spec.clusterIP}");
    // A named target is another number in each pod.
    for name in ["one", "two"] {
        let script = format!("until wget -qO- http://{both}/who | grep -qx {name}; do :; done");
        inside(sh, &format!("timeout 60 sh -c \"{script}\" 2>/dev/null"));
    }
    let second = format!("http://{both}:81/who");
    assert_eq!(until(sh, &format!("wget -qO- {second}")), "two\n", "only one pod listens there");
    let own = value(sh, "service own", "{.spec.clusterIP}");
    assert_eq!(until(sh, &format!("wget -qO- http://{own}/who")), "one\n");
    assert_eq!(
        sh.ok("kubectl get endpointslices -l kubernetes.io/service-name=both -o name").lines().count(),
        2
    );
}

fn w133(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok("kubectl create service clusterip redis-main --tcp=6379:6379");
    let address = value(sh, "service redis-main", "{.spec.clusterIP}");
    let mut plain = pod("plain", STAY);
    plain["spec"]["enableServiceLinks"] = false.into();
    sh.apply(&format!("{}\n{plain}", pod("client", STAY)));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    let variables = inside(sh, "env");
    for line in [
        format!("REDIS_MAIN_SERVICE_HOST={address}"),
        "REDIS_MAIN_SERVICE_PORT=6379".to_owned(),
        "REDIS_MAIN_SERVICE_PORT_6379_6379=6379".to_owned(),
        format!("REDIS_MAIN_PORT=tcp://{address}:6379"),
        format!("REDIS_MAIN_PORT_6379_TCP=tcp://{address}:6379"),
        "REDIS_MAIN_PORT_6379_TCP_PROTO=tcp".to_owned(),
        "REDIS_MAIN_PORT_6379_TCP_PORT=6379".to_owned(),
        format!("REDIS_MAIN_PORT_6379_TCP_ADDR={address}"),
        "KUBERNETES_SERVICE_PORT_HTTPS=443".to_owned(),
    ] {
        assert!(variables.lines().any(|known| known == line), "{line} in {variables}");
    }
    let variables = sh.ok("kubectl exec plain -- env");
    assert!(!variables.contains("REDIS") && variables.contains("KUBERNETES_SERVICE_HOST="), "{variables}");
}

fn w134(scene: &Scene) {
    let (sh, namespace) = (&scene.shell, &scene.namespace);
    let mut named = pod("named", "exec httpd -f -p 8080 -h /etc");
    named["metadata"]["labels"] = json!({"app": "peers"});
    named["spec"]["hostname"] = "peer-0".into();
    named["spec"]["subdomain"] = "peers".into();
    let own = json!({"nameservers": ["192.0.2.53"], "searches": ["example.org"], "options": [{"name": "ndots", "value": "2"}]});
    let mut configured = pod("configured", STAY);
    configured["spec"]["dnsPolicy"] = "None".into();
    configured["spec"]["dnsConfig"] = own;
    let peers = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"}, "spec": {
        "clusterIP": "None", "selector": {"app": "peers"}, "ports": [{"name": "http", "port": 8080}]}});
    let web = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
        "selector": {"app": "peers"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    sh.apply(&format!("{named}\n{configured}\n{peers}\n{web}\n{}", pod("client", STAY)));
    sh.ok("kubectl create service externalname away --external-name target.example.org");
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    let domain = format!("{namespace}.svc.cluster.local");
    let pod_ip = value(sh, "pod named", "{.status.podIP}");
    let address = value(sh, "service web", "{.spec.clusterIP}");
    let looked = |kind: &str, name: &str| until(sh, &format!("nslookup -type={kind} {name}"));
    for name in
        ["web", &format!("web.{namespace}"), &format!("web.{namespace}.svc"), &format!("web.{domain}.")]
    {
        assert!(inside(sh, &format!("wget -qO- http://{name}/hostname")).contains("peer-0"), "{name}");
    }
    assert!(inside(sh, "wget -qO- http://peer-0.peers:8080/hostname").contains("peer-0"));
    assert!(looked("a", &format!("web.{domain}")).contains(&address));
    assert!(looked("a", &format!("peers.{domain}")).contains(&pod_ip), "a headless Service is its endpoints");
    assert!(looked("a", &format!("peer-0.peers.{domain}")).contains(&pod_ip));
    assert!(looked("a", "kubernetes.default.svc.cluster.local").contains("Address"));
    assert!(looked("srv", &format!("_http._tcp.web.{domain}")).contains(&format!("web.{domain}")));
    assert!(looked("srv", &format!("_http._tcp.peers.{domain}")).contains(&format!("peer-0.peers.{domain}")));
    assert!(looked("cname", &format!("away.{domain}")).contains("target.example.org"));
    assert!(until(sh, &format!("nslookup {address}")).contains(&format!("web.{domain}")));
    assert!(until(sh, &format!("nslookup {pod_ip}")).contains(&format!("peer-0.peers.{domain}")));
    let dashed = pod_ip.replace('.', "-");
    assert!(looked("a", &format!("{dashed}.{namespace}.pod.cluster.local")).contains(&pod_ip));
    let missing = sh.run("kubectl exec client -- nslookup -type=a nobody.default.svc.cluster.local");
    assert!(format!("{}{}", missing.out, missing.err).contains("NXDOMAIN"), "{}", missing.err);
    // The pod's own files.
    let hosts = sh.ok("kubectl exec named -- cat /etc/hosts");
    assert!(hosts.lines().any(|line| line == format!("{pod_ip}\tpeer-0.peers.{domain}\tpeer-0")), "{hosts}");
    let resolv = inside(sh, "cat /etc/resolv.conf");
    let dns = value(sh, "service kube-dns -n kube-system", "{.spec.clusterIP}");
    assert!(
        resolv.contains(&format!("nameserver {dns}\n")) && resolv.contains("options ndots:5"),
        "{resolv}"
    );
    assert!(resolv.contains(&format!("search {domain} svc.cluster.local cluster.local")), "{resolv}");
    let resolv = sh.ok("kubectl exec configured -- cat /etc/resolv.conf");
    assert_eq!(resolv, "search example.org\nnameserver 192.0.2.53\noptions ndots:2\n");
}

/// The row changes what all names outside the cluster are answered by: only by adding to it.
fn rules(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&pod("client", STAY).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/client --timeout=60s");
    let map = "kubectl -n kube-system get configmap coredns -o jsonpath={.data.Corefile}";
    let first = sh.ok(map);
    assert!(first.contains("kubernetes cluster.local in-addr.arpa ip6.arpa {"), "{first}");
    let put = |corefile: &str| {
        let patch = json!({"data": {"Corefile": corefile}});
        sh.ok(&format!("kubectl -n kube-system patch configmap coredns --type=merge -p '{patch}'"));
    };
    let asked = "nslookup -type=a host.w134a.example";
    assert!(!sh.run(&format!("kubectl exec client -- {asked}")).out.contains("192.0.2.134"));
    let hosts = "w134a.example:53 {\n hosts {\n 192.0.2.134 host.w134a.example\n }\n}\n";
    put(&format!("{first}{hosts}"));
    let seen = format!("kubectl exec client -- {asked} 2>/dev/null | grep -q 192.0.2.134");
    sh.ok(&format!("timeout 30 sh -c 'until {seen}; do :; done'"));
    // What is not understood is an Event, and the former rules stay.
    put(&format!("{first}{hosts}x.example {{\n rewrite stop\n}}\n"));
    let events = "kubectl -n kube-system get events --field-selector involvedObject.name=coredns,reason=InvalidCorefile";
    let said = sh.ok(&format!("timeout 30 sh -c 'until {events} | grep rewrite; do :; done' 2>/dev/null"));
    assert!(said.contains("the plugin rewrite is not supported; the former rules stay in force"), "{said}");
    assert!(sh.ok(&format!("kubectl exec client -- {asked}")).contains("192.0.2.134"));
    put(&first);
    let gone = format!("kubectl exec client -- {asked} 2>/dev/null | grep -q 192.0.2.134");
    sh.ok(&format!("timeout 30 sh -c 'while {gone}; do :; done'"));
    let dns = value(sh, "service kube-dns -n kube-system", "{.spec.clusterIP}");
    let figures = sh.ok(&format!("kubectl exec client -- wget -qO- http://{dns}:9153/metrics"));
    assert!(
        figures.contains("coredns_dns_requests_total{") && figures.contains("coredns_reload_failed_total 1")
    );
}
