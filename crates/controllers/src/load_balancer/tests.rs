//! Services and nodes in caches that nothing feeds.

use super::*;

struct Cluster {
    controller: LoadBalancerController,
}

impl Cluster {
    fn new() -> Self {
        Self::of(Source::Nodes(BTreeSet::from([6443])))
    }

    fn of(source: Source) -> Self {
        let services = Cache::new();
        let wanting = wanting(&services);
        Self { controller: LoadBalancerController { services, nodes: Cache::new(), wanting, source } }
    }

    fn node(&self, name: &str, ip: &str, ready: &str, labels: &Value) {
        let node = json!({"metadata": {"name": name, "labels": labels},
            "status": {"conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}]}});
        self.controller.nodes.apply(serde_json::from_value(node).expect("a node"));
    }

    /// A Service made at this second, with these parts of the specification and these addresses.
    fn service(&self, name: &str, second: u8, spec: &Value, ips: &[&str]) {
        self.service_with(name, second, spec, json!({"loadBalancer": {"ingress": entries(ips)}}));
    }

    fn service_with(&self, name: &str, second: u8, spec: &Value, status: Value) {
        let mut whole = json!({"metadata": {"namespace": "d", "name": name, "uid": name, "resourceVersion": "7",
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], "ports": [{"port": 80, "protocol": "TCP"}]},
            "status": status});
        for (key, value) in spec.as_object().expect("an object") {
            whole["spec"][key] = value.clone();
        }
        self.controller.services.apply(serde_json::from_value(whole).expect("a Service"));
    }

    /// What is done about a Service, in words.
    fn done(&self, name: &str) -> Vec<String> {
        let service = self.controller.services.get("d", name).expect(name);
        if !wants(&service) && !has_left(&service) {
            return Vec::new();
        }
        let offer = self.controller.offer(&service);
        let is_from_pool = matches!(self.controller.source, Source::Pool(_));
        let plan = plan(&Observed { service, offer, is_from_pool, failure: None }, Timestamp::UNIX_EPOCH);
        let told = |action: &Action| match action {
            Action::Event { reason, message, .. } => format!("{reason}: {message}"),
            Action::MergePatch { target, patch } => {
                assert_eq!(target.path(), format!("/api/v1/namespaces/d/services/{name}/status"));
                assert_eq!(patch["metadata"], json!({"uid": name, "resourceVersion": "7"}));
                let conditions = patch["status"].get("conditions").map(|conditions| format!(" {conditions}"));
                patch["status"]["loadBalancer"]["ingress"].to_string() + &conditions.unwrap_or_default()
            }
            other => panic!("unexpected {other:?}"),
        };
        plan.actions.iter().map(told).collect()
    }
}

fn entries(ips: &[&str]) -> Vec<Value> {
    ips.iter().map(|ip| json!({"ip": ip})).collect()
}

const ENSURING: &str = "EnsuringLoadBalancer: Ensuring load balancer";
const ENSURED: &str = "EnsuredLoadBalancer: Ensured load balancer";

#[test]
fn a_service_gets_the_nodes_addresses() {
    let c = Cluster::new();
    c.service("web", 1, &json!({}), &[]);
    assert_eq!(c.done("web"), ["UnAvailableLoadBalancer: There are no available nodes for LoadBalancer"]);
    c.node("a", "192.0.2.2", "Unknown", &json!({}));
    let one = r#"[{"ip":"192.0.2.2","ipMode":"VIP"}]"#;
    assert_eq!(c.done("web"), [ENSURING, one, ENSURED], "no node is ready, and that may be over soon");
    c.node("a", "192.0.2.2", "True", &json!({}));
    c.node("b", "192.0.2.1", "True", &json!({}));
    c.node("c", "192.0.2.3", "False", &json!({}));
    c.node("d", "192.0.2.4", "True", &json!({EXCLUDED: ""}));
    c.node("e", "2001:db8::1", "True", &json!({}));
    let two = r#"[{"ip":"192.0.2.1","ipMode":"VIP"},{"ip":"192.0.2.2","ipMode":"VIP"}]"#;
    assert_eq!(c.done("web"), [ENSURING, two, ENSURED]);
    c.service("web", 1, &json!({}), &["192.0.2.2"]);
    assert_eq!(c.done("web"), [two, "UpdatedLoadBalancer: Updated load balancer with new hosts"]);
    c.service("web", 1, &json!({}), &["192.0.2.1", "192.0.2.2"]);
    assert_eq!(c.done("web"), Vec::<String>::new());
    c.service("web", 1, &json!({"loadBalancerIP": "192.0.2.2"}), &[]);
    assert_eq!(c.done("web"), [ENSURING, one, ENSURED]);
    c.service("web", 1, &json!({"loadBalancerIP": "192.0.2.9"}), &[]);
    let none = "SyncLoadBalancerFailed: Error syncing load balancer: failed to ensure load balancer: the address \
                192.0.2.9 is none of a node";
    assert_eq!(c.done("web"), [none]);
    c.service("web", 1, &json!({"loadBalancerClass": "example.com/other"}), &[]);
    assert_eq!(c.done("web"), Vec::<String>::new(), "somebody else's");
    c.service("web", 1, &json!({"type": "NodePort"}), &[]);
    assert_eq!(c.done("web"), Vec::<String>::new());
}

#[test]
fn a_port_of_the_nodes_belongs_to_one_service() {
    let c = Cluster::new();
    c.node("a", "192.0.2.2", "True", &json!({}));
    let failed = "SyncLoadBalancerFailed: Error syncing load balancer: failed to ensure load balancer: port";
    c.service("api", 0, &json!({"ports": [{"port": 6443}]}), &[]);
    assert_eq!(c.done("api"), [format!("{failed} 6443/TCP of the nodes is a cluster's own")]);
    c.service("dns", 0, &json!({"ports": [{"port": 6443, "protocol": "UDP"}]}), &[]);
    assert_eq!(c.done("dns").len(), 3);
    c.service("older", 1, &json!({}), &[]);
    c.service("younger", 2, &json!({}), &[]);
    assert_eq!((c.done("older").len(), c.done("younger").len()), (3, 3), "nobody has it yet");
    c.service("younger", 2, &json!({}), &["192.0.2.2"]);
    assert_eq!(c.done("older"), [format!("{failed} 80/TCP of the nodes is taken by Service d/younger")]);
    assert_eq!(c.done("younger"), Vec::<String>::new(), "who has it keeps it");
    c.service("older", 1, &json!({}), &["192.0.2.2"]);
    assert_eq!(c.done("older"), Vec::<String>::new());
    let lost = [format!("{failed} 80/TCP of the nodes is taken by Service d/older"), "null".to_owned()];
    assert_eq!(c.done("younger"), lost, "two have it: the older one keeps it");
    c.service("younger", 2, &json!({"ports": [{"port": 80, "protocol": "UDP"}, {"port": 81}]}), &[]);
    assert_eq!(c.done("younger").len(), 3, "other ports");
}

#[test]
fn a_change_that_frees_a_port_says_so() {
    let service = |spec: Value, ips: &[&str]| {
        let c = Cluster::new();
        c.service("web", 1, &spec, ips);
        c.controller.services.find(&Key::new("d", "web")).expect("a Service")
    };
    let freed = |delta: Delta<Service>| freed(&delta).into_iter().collect::<Vec<_>>();
    let held = || service(json!({}), &["192.0.2.2"]);
    assert_eq!(freed(Delta::Deleted(held())), ["80/TCP"]);
    assert_eq!(freed(Delta::Deleted(service(json!({}), &[]))), Vec::<String>::new());
    let change = |new| freed(Delta::Applied { new, old: Some(held()) });
    assert_eq!(change(service(json!({"type": "ClusterIP"}), &[])), ["80/TCP"]);
    assert_eq!(change(service(json!({"ports": [{"port": 81}]}), &["192.0.2.2"])), ["80/TCP"]);
    assert_eq!(change(held()), Vec::<String>::new());
}

const ANNOUNCED: &str = r#"[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"The address is of the pool, and one node announces it","reason":"AddressAllocated","status":"True","type":"knarr.dev/AddressFromPool"}]"#;

fn pooled(texts: &[&str]) -> Cluster {
    Cluster::of(Source::Pool(Pool::parse(texts).expect("a pool")))
}

impl Cluster {
    /// A Service that has an address of the pool.
    fn served(&self, name: &str, second: u8, spec: &Value, ip: &str) {
        let conditions: Value = serde_json::from_str(ANNOUNCED).expect("conditions");
        let status = json!({"loadBalancer": {"ingress": entries(&[ip])}, "conditions": conditions});
        self.service_with(name, second, spec, status);
    }

    fn delta(&self, name: &str) -> Cached<Service> {
        self.controller.services.find(&Key::new("d", name)).expect("a Service")
    }

    /// Which Services are looked at after a change, beside the one that has changed.
    fn next(&self, delta: &Delta<Service>) -> Vec<String> {
        next_in_line(delta, &self.controller.wanting).into_iter().map(|key| key.name.to_string()).collect()
    }
}

#[test]
fn each_service_has_an_address_of_the_pool_to_itself() {
    let c = pooled(&["192.0.2.8/31"]);
    c.node("a", "192.0.2.1", "True", &json!({}));
    let given = |ip: &str| {
        [ENSURING.to_owned(), format!(r#"[{{"ip":"{ip}","ipMode":"VIP"}}] {ANNOUNCED}"#), ENSURED.to_owned()]
    };
    c.service("one", 1, &json!({}), &[]);
    assert_eq!(c.done("one"), given("192.0.2.8"));
    c.served("one", 1, &json!({}), "192.0.2.8");
    assert_eq!(c.done("one"), Vec::<String>::new(), "who has one keeps it");
    // The same port, and another address.
    c.service("two", 2, &json!({}), &[]);
    assert_eq!(c.done("two"), given("192.0.2.9"));
    c.served("two", 2, &json!({}), "192.0.2.9");
    c.service("three", 3, &json!({}), &[]);
    let none = r#"AllocationFailed: Failed to allocate IP for "d/three": no available IPs in the pool"#;
    assert_eq!(c.done("three"), [none]);
    c.service("three", 3, &json!({"loadBalancerIP": "192.0.2.9"}), &[]);
    let taken = r#"AllocationFailed: Failed to allocate IP for "d/three": the address 192.0.2.9 is in use by Service d/two"#;
    assert_eq!(c.done("three"), [taken]);
    c.service("three", 3, &json!({"loadBalancerIP": "192.0.2.7"}), &[]);
    let foreign =
        r#"AllocationFailed: Failed to allocate IP for "d/three": "192.0.2.7" is not an address of the pool"#;
    assert_eq!(c.done("three"), [foreign]);
    c.service("three", 3, &json!({"ipFamilies": ["IPv6"]}), &[]);
    assert_eq!(c.done("three").len(), 1);
    // Two have one address: the older keeps it.
    c.served("three", 3, &json!({}), "192.0.2.8");
    assert_eq!(c.done("one"), Vec::<String>::new());
    assert_eq!(c.done("three"), [none.to_owned(), "null null".to_owned()]);
    // One that is about to go has its address until it is gone.
    c.service("three", 3, &json!({}), &[]);
    c.controller.services.objects().remove(&Key::new("d", "two"));
    assert_eq!(c.done("three"), given("192.0.2.9"));
}

#[test]
fn a_node_keeps_its_address_and_the_pool_takes_over_from_the_nodes() {
    let c = pooled(&["192.0.2.1-192.0.2.2"]);
    c.node("a", "192.0.2.1", "False", &json!({}));
    c.service("web", 1, &json!({}), &["192.0.2.1"]);
    let moved = format!(r#"[{{"ip":"192.0.2.2","ipMode":"VIP"}}] {ANNOUNCED}"#);
    assert_eq!(c.done("web"), [&moved, "UpdatedLoadBalancer: Updated load balancer with new hosts"]);
    c.service("web", 1, &json!({"loadBalancerIP": "192.0.2.1"}), &[]);
    assert!(c.done("web")[0].ends_with("the address 192.0.2.1 is in use by a node"));
    c.served("web", 1, &json!({"type": "ClusterIP"}), "192.0.2.2");
    assert_eq!(c.done("web"), ["null null"], "the condition alone goes");
    // And back, where the pool is gone: what others have said of the Service stays.
    let c = Cluster::new();
    c.node("a", "192.0.2.1", "True", &json!({}));
    c.served("web", 1, &json!({}), "192.0.2.2");
    let back = r#"[{"ip":"192.0.2.1","ipMode":"VIP"}] null"#;
    assert_eq!(c.done("web"), [back, "UpdatedLoadBalancer: Updated load balancer with new hosts"]);
}

#[test]
fn an_address_that_becomes_free_goes_to_the_next_in_line() {
    let c = pooled(&["192.0.2.8/31"]);
    c.served("one", 1, &json!({}), "192.0.2.8");
    for (name, spec) in [
        ("b", json!({})),
        ("c", json!({})),
        ("asks", json!({"loadBalancerIP": "192.0.2.8"})),
        ("other", json!({"loadBalancerIP": "192.0.2.9"})),
    ] {
        c.service(name, 2, &spec, &[]);
    }
    let had = c.delta("one");
    assert_eq!(c.next(&Delta::Deleted(had.clone())), ["asks", "b"]);
    c.served("one", 1, &json!({"type": "ClusterIP"}), "192.0.2.8");
    assert_eq!(c.next(&Delta::Applied { new: c.delta("one"), old: Some(had.clone()) }), ["asks", "b"]);
    assert_eq!(c.next(&Delta::Applied { new: had.clone(), old: Some(had) }), Vec::<String>::new());
    // As one is served, or goes, the next one's turn comes.
    let waited = c.delta("b");
    c.served("b", 2, &json!({}), "192.0.2.8");
    assert_eq!(c.next(&Delta::Applied { new: c.delta("b"), old: Some(waited) }), ["c"]);
    assert_eq!(c.next(&Delta::Deleted(c.delta("c"))), ["c"], "the line as it was before");
    assert_eq!(c.next(&Delta::Applied { new: c.delta("c"), old: None }), Vec::<String>::new());
}
