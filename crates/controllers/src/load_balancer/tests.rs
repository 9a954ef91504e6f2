//! Services and nodes in caches that nothing feeds.

use super::*;

struct Cluster {
    controller: LoadBalancerController,
}

impl Cluster {
    fn new() -> Self {
        let services = Cache::new();
        let wanting = wanting(&services);
        let reserved = BTreeSet::from([6443]);
        Self { controller: LoadBalancerController { services, nodes: Cache::new(), wanting, reserved } }
    }

    fn node(&self, name: &str, ip: &str, ready: &str, labels: &Value) {
        let node = json!({"metadata": {"name": name, "labels": labels},
            "status": {"conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}]}});
        self.controller.nodes.apply(serde_json::from_value(node).expect("a node"));
    }

    /// A Service made at this second, with these parts of the specification and these addresses.
    fn service(&self, name: &str, second: u8, spec: &Value, ips: &[&str]) {
        let mut whole = json!({"metadata": {"namespace": "d", "name": name, "uid": name, "resourceVersion": "7",
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], "ports": [{"port": 80, "protocol": "TCP"}]},
            "status": {"loadBalancer": {"ingress": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()}}});
        for (key, value) in spec.as_object().expect("an object") {
            whole["spec"][key] = value.clone();
        }
        self.controller.services.apply(serde_json::from_value(whole).expect("a Service"));
    }

    /// What is done about a Service, in words.
    fn done(&self, name: &str) -> Vec<String> {
        let service = self.controller.services.get("d", name).expect(name);
        if !wants(&service) {
            return Vec::new();
        }
        let offer = self.controller.offer(&service);
        let plan = plan(&Observed { service, offer, failure: None });
        let told = |action: &Action| match action {
            Action::Event { reason, message, .. } => format!("{reason}: {message}"),
            Action::MergePatch { target, patch } => {
                assert_eq!(target.path(), format!("/api/v1/namespaces/d/services/{name}/status"));
                assert_eq!(patch["metadata"], json!({"uid": name, "resourceVersion": "7"}));
                patch["status"]["loadBalancer"]["ingress"].to_string()
            }
            other => panic!("unexpected {other:?}"),
        };
        plan.actions.iter().map(told).collect()
    }
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
