//! What Services take: cluster addresses come from the cluster's ranges, nobody has one twice, and all are given back.

use std::collections::HashSet;

use apiserver::admission;
use futures::FutureExt;
use futures::future::join_all;
use serde_json::{Value, json};
use store::Memory;
use store::memory::{Config, Part, WriteFault};

use crate::harness::Harness;

pub const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

async fn on(store: Memory) -> Harness {
    Harness::made_on(store, |deps| {
        deps.reservers =
            admission::reservers(&deps.cache, &deps.clock, &deps.supervisor, &admission::Choice::default());
    })
    .await
}

/// A server of a cluster with these ranges.
pub async fn serve(cidrs: &[&str]) -> Harness {
    let harness = on(Memory::new(Config::default())).await;
    add_range(&harness, "kubernetes", cidrs).await;
    harness
}

async fn add_range(harness: &Harness, name: &str, cidrs: &[&str]) {
    let range = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": name}, "spec": {"cidrs": cidrs}});
    harness.post(RANGES, &range).await.ok();
}

pub fn service(name: &str, spec: &Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}});
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    service
}

fn at(name: &str) -> String {
    format!("{SERVICES}/{name}")
}

fn address(service: &Value) -> String {
    service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned()
}

/// The addresses that are taken, by whom.
async fn taken(harness: &Harness) -> Vec<(String, String)> {
    let list = harness.get(ADDRESSES).await.ok();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| (text(&item["metadata"]["name"]), text(&item["spec"]["parentRef"]["name"]))).collect()
}

/// Waits until exactly these are taken.
async fn until_taken(harness: &Harness, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> =
        wanted.iter().map(|(address, by)| ((*address).to_owned(), (*by).to_owned())).collect();
    while taken(harness).await != wanted {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_service_gets_an_address_of_the_upper_part() {
    let harness = serve(&["10.96.0.0/16"]).await;
    let made = harness.post(SERVICES, &service("a", &json!({}))).await.ok();
    let got = address(&made);
    let octets = got.parse::<std::net::Ipv4Addr>().unwrap().octets();
    assert_eq!(octets[..2], [10, 96]);
    assert!(octets[2] >= 1, "{got} is of the part for those who choose");
    assert_eq!(
        made["spec"],
        json!({
            "clusterIP": got, "clusterIPs": [got], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP",
            "selector": {"app": "a"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        })
    );
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].get("f:clusterIP"), None);
    let mut object = harness.get(&format!("{ADDRESSES}/{got}")).await.ok();
    let metadata = &object["metadata"];
    assert_eq!(metadata["creationTimestamp"], made["metadata"]["creationTimestamp"]);
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(metadata["managedFields"][0]["time"], metadata["creationTimestamp"]);
    for key in ["uid", "creationTimestamp", "resourceVersion"] {
        object["metadata"].as_object_mut().unwrap().remove(key);
    }
    object["metadata"]["managedFields"][0]["time"] = "".into();
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    let owned = json!({
        "f:metadata": {"f:labels": {
            ".": {}, "f:ipaddress.kubernetes.io/ip-family": {}, "f:ipaddress.kubernetes.io/managed-by": {},
        }},
        "f:spec": {"f:parentRef": {"f:name": {}, "f:namespace": {}, "f:resource": {}}},
    });
    assert_eq!(
        object,
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": {"name": got, "labels": labels, "managedFields": [{
                "manager": "kube-apiserver", "operation": "Update", "apiVersion": "networking.k8s.io/v1",
                "fieldsType": "FieldsV1", "fieldsV1": owned, "time": "",
            }]},
            "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "a"}},
        })
    );
}

#[tokio::test]
async fn an_address_that_is_chosen_is_given_once() {
    let harness = serve(&["10.96.0.0/16"]).await;
    let chosen = service("a", &json!({"clusterIP": "10.96.0.5"}));
    let made = harness.post(SERVICES, &chosen).await.ok();
    assert_eq!(made["spec"]["clusterIPs"], json!(["10.96.0.5"]));
    until_taken(&harness, &[("10.96.0.5", "a")]).await;
    let refusal = |address: &str, why: &str| {
        format!(
            "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"{address}\"]: failed to allocate IP {address}: {why}"
        )
    };
    for (address, why) in [
        ("10.96.0.5", "provided IP is already allocated"),
        ("10.97.0.5", "the provided network does not match the current range"),
        ("10.96.0.0", "the provided network does not match the current range"),
        ("10.96.255.255", "the provided network does not match the current range"),
    ] {
        let asked = service("b", &json!({"clusterIP": address}));
        assert_eq!(harness.post(SERVICES, &asked).await.refused(422), refusal(address, why));
    }
    // What is wrong beside the address gives it back at once.
    let mut broken = service("b", &json!({"clusterIP": "10.96.0.6"}));
    broken["spec"]["sessionAffinity"] = "Never".into();
    harness.post(SERVICES, &broken).await.refused(422);
    harness.post(SERVICES, &service("a", &json!({"clusterIP": "10.96.0.6"}))).await.refused(409);
    harness.post(SERVICES, &service("b", &json!({"clusterIP": "10.96.0.6"}))).await.ok();
    // Replaced by a delete and a create, as `kubectl replace --force` does.
    for _ in 0..8 {
        harness.delete(&at("a")).await.ok();
        harness.post(SERVICES, &chosen).await.ok();
    }
    until_taken(&harness, &[("10.96.0.5", "a"), ("10.96.0.6", "b")]).await;
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let harness = serve(&["10.96.0.0/16"]).await;
    let dry = format!("{SERVICES}?dryRun=All");
    let made = harness.post(&dry, &service("a", &json!({}))).await.ok();
    // Upstream does not look for a free address either.
    assert_eq!(address(&made), "10.96.0.0");
    let made = harness.post(&dry, &service("a", &json!({"clusterIP": "10.96.0.5"}))).await.ok();
    assert_eq!(address(&made), "10.96.0.5");
    assert_eq!(
        harness.post(&dry, &service("a", &json!({"clusterIP": "10.97.0.5"}))).await.refused(422),
        "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.97.0.5\"]: failed to allocate IP 10.97.0.5: \
         the provided IP (10.97.0.5) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
    );
    assert_eq!(taken(&harness).await, []);
    harness.post(SERVICES, &service("a", &json!({"clusterIP": "10.96.0.5"}))).await.ok();
    let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
    harness.merge(&format!("{}?dryRun=All", at("a")), &external).await.ok();
    harness.delete(&format!("{}?dryRun=All", at("a"))).await.ok();
    assert_eq!(taken(&harness).await, [("10.96.0.5".to_owned(), "a".to_owned())]);
}

#[tokio::test]
async fn creators_at_once_get_different_addresses_until_there_are_none() {
    // 62 addresses.
    let harness = serve(&["10.96.0.0/26"]).await;
    let services: Vec<_> = (0..64).map(|i| service(&format!("s{i}"), &json!({}))).collect();
    for _ in 0..3 {
        let answers = join_all(services.iter().map(|service| harness.post(SERVICES, service))).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        let addresses: HashSet<_> = made.into_iter().map(|answer| address(&answer.ok())).collect();
        assert_eq!(addresses.len(), 62);
        assert_eq!(refused.len(), 2);
        for answer in refused {
            let told = answer.refused(500);
            assert_eq!(told, "Internal error occurred: failed to allocate a serviceIP: range is full");
        }
        assert_eq!(taken(&harness).await.len(), 62);
        // One that goes makes room for one.
        let listed = harness.get(SERVICES).await.ok();
        let gone = listed["items"][5]["metadata"]["name"].as_str().unwrap().to_owned();
        let free = address(&listed["items"][5]);
        harness.delete(&at(&gone)).await.ok();
        while taken(&harness).await.len() == 62 {
            tokio::task::yield_now().await;
        }
        assert_eq!(address(&harness.post(SERVICES, &service("late", &json!({}))).await.ok()), free);
        harness.delete_with(SERVICES, &json!({})).await.ok();
        until_taken(&harness, &[]).await;
    }
    // Of many who want the same one, one gets it.
    let chosen = |i| service(&format!("s{i}"), &json!({"clusterIP": "10.96.0.9"}));
    let services: Vec<_> = (0..64).map(chosen).collect();
    let answers = join_all(services.iter().map(|service| harness.post(SERVICES, service))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
}

#[tokio::test]
async fn two_servers_on_one_store_never_give_out_an_address_twice() {
    let store = Memory::new(Config { shared: true, ..Config::default() });
    let second = store.another();
    let (one, other) = (on(store).await, on(second).await);
    add_range(&one, "kubernetes", &["10.96.0.0/26"]).await;
    while other.get(&format!("{RANGES}/kubernetes")).await.status != 200 {}
    let services: Vec<_> = (0..64).map(|i| service(&format!("s{i}"), &json!({}))).collect();
    let asked = services.iter().enumerate().map(|(i, service)| {
        let harness = if i % 2 == 0 { &one } else { &other };
        harness.post(SERVICES, service)
    });
    let answers = join_all(asked).await;
    let made: Vec<_> = answers.into_iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 62);
    let addresses: HashSet<_> = made.into_iter().map(|answer| address(&answer.ok())).collect();
    assert_eq!(addresses.len(), 62);
}

#[tokio::test]
async fn two_servers_on_one_store_never_give_out_a_node_port_twice() {
    let store = Memory::new(Config { shared: true, ..Config::default() });
    let second = store.another();
    let (one, other) = (on(store).await, on(second).await);
    add_range(&one, "kubernetes", &["10.96.0.0/16"]).await;
    while other.get(&format!("{RANGES}/kubernetes")).await.status != 200 {}
    let of = |i: usize| if i.is_multiple_of(2) { &one } else { &other };
    let at_once = async |services: &[Value]| {
        join_all(services.iter().enumerate().map(|(i, service)| of(i).post(SERVICES, service))).await
    };
    // The same one, many times at the same instant.
    for round in 0..20 {
        let port = 30_000 + round;
        let same: Vec<_> = (0..8).map(|i| node_port(&format!("same-{round}-{i}"), port)).collect();
        let answers = at_once(&same).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{port}");
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            assert!(
                answer
                    .refused(422)
                    .ends_with(&format!("Invalid value: {port}: provided port is already allocated"))
            );
        }
    }
    let asked = |i| json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30_040, "ports": [{"port": 80 + i}]});
    let same: Vec<_> = (0..8).map(|i| service(&format!("health-{i}"), &asked(i))).collect();
    assert_eq!(at_once(&same).await.iter().filter(|answer| answer.status == 201).count(), 1);
    // Any: most of what there is.
    let many = |i: usize| {
        let ports: Vec<_> = (1..=80).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
        service(&format!("any-{i}"), &json!({"type": "NodePort", "ports": ports}))
    };
    let services: Vec<_> = (0..30).map(many).collect();
    let answers = at_once(&services).await;
    let ports: Vec<_> = answers.into_iter().flat_map(|answer| node_ports(&answer.ok())).collect();
    let different: HashSet<_> = ports.iter().collect();
    assert_eq!((ports.len(), different.len()), (2400, 2400));
}

#[tokio::test]
async fn a_change_of_type_takes_and_frees() {
    let harness = serve(&["10.96.0.0/16"]).await;
    harness.post(SERVICES, &service("a", &json!({"clusterIP": "10.96.0.5"}))).await.ok();
    let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
    let changed = harness.merge(&at("a"), &external).await.ok();
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert_eq!(changed["spec"].get(key), None, "{key}");
    }
    harness.post(SERVICES, &service("b", &json!({"clusterIP": "10.96.0.5"}))).await.ok();
    let internal = json!({"spec": {"type": "ClusterIP", "externalName": null}});
    let changed = harness.merge(&at("a"), &internal).await.ok();
    let got = address(&changed);
    assert_eq!(changed["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_ne!(got, "10.96.0.5");
    until_taken(&harness, &[("10.96.0.5", "b"), (&got, "a")]).await;
    // An update that says nothing about the address keeps it, one that changes it is refused.
    let mut plain = service("a", &json!({}));
    plain["spec"]["ports"][0]["port"] = 81.into();
    assert_eq!(address(&harness.put(&at("a"), &plain).await.ok()), got);
    let other = json!({"spec": {"clusterIP": "10.96.0.7"}});
    assert_eq!(
        harness.merge(&at("a"), &other).await.refused(422),
        "Service \"a\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.0.7\"]: may not change once set"
    );
    // Headless Services have none.
    let made = harness.post(SERVICES, &service("none", &json!({"clusterIP": "None"}))).await.ok();
    assert_eq!(made["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
    until_taken(&harness, &[("10.96.0.5", "b"), (&got, "a")]).await;
}

#[tokio::test]
async fn a_finalizer_holds_the_address_too() {
    let harness = serve(&["10.96.0.0/16"]).await;
    let mut held = service("a", &json!({"clusterIP": "10.96.0.5"}));
    held["metadata"]["finalizers"] = json!(["x/y"]);
    harness.post(SERVICES, &held).await.ok();
    harness.delete(&at("a")).await.ok();
    harness.post(SERVICES, &service("b", &json!({"clusterIP": "10.96.0.5"}))).await.refused(422);
    harness.merge(&at("a"), &json!({"metadata": {"finalizers": null}})).await.ok();
    harness.post(SERVICES, &service("b", &json!({"clusterIP": "10.96.0.5"}))).await.ok();
}

#[tokio::test]
async fn two_families_where_the_cluster_has_them() {
    let harness = serve(&["10.96.0.0/16", "fd00:10:96::/112"]).await;
    let dual = json!({"ipFamilyPolicy": "PreferDualStack"});
    let made = harness.post(SERVICES, &service("a", &dual)).await.ok();
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    let second = made["spec"]["clusterIPs"][1].as_str().unwrap().to_owned();
    assert!(second.starts_with("fd00:10:96::"), "{second}");
    assert_eq!(taken(&harness).await.len(), 2);
    let single = json!({"spec": {"ipFamilyPolicy": "SingleStack"}});
    let changed = harness.merge(&at("a"), &single).await.ok();
    assert_eq!(changed["spec"]["clusterIPs"], json!([address(&made)]));
    assert_eq!(changed["spec"]["ipFamilies"], json!(["IPv4"]));
    until_taken(&harness, &[(&address(&made), "a")]).await;
    let both = json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "clusterIPs": [address(&made), "fd00:10:96::5"],
        "ipFamilies": ["IPv4", "IPv6"]}});
    let changed = harness.merge(&at("a"), &both).await.ok();
    assert_eq!(changed["spec"]["clusterIPs"], json!([address(&made), "fd00:10:96::5"]));
    until_taken(&harness, &[(&address(&made), "a"), ("fd00:10:96::5", "a")]).await;
    // A cluster of one family does not refuse what merely prefers two.
    let harness = serve(&["10.96.0.0/16"]).await;
    let made = harness.post(SERVICES, &service("a", &dual)).await.ok();
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
}

#[tokio::test]
async fn a_range_that_is_added_takes_over_when_the_first_is_full() {
    let harness = serve(&["10.96.0.0/30"]).await;
    for name in ["a", "b"] {
        harness.post(SERVICES, &service(name, &json!({}))).await.ok();
    }
    harness.post(SERVICES, &service("c", &json!({}))).await.refused(500);
    add_range(&harness, "more", &["10.97.0.0/30"]).await;
    let made = harness.post(SERVICES, &service("c", &json!({}))).await.ok();
    assert!(address(&made).starts_with("10.97.0."));
}

#[tokio::test]
async fn a_request_that_fails_or_is_given_up_leaves_no_address_taken() {
    let harness = serve(&["10.96.0.0/16"]).await;
    harness.store.faults().next_write(WriteFault::Refused(store::Error::Unavailable("no leader".into())));
    harness.post(SERVICES, &service("a", &json!({}))).await.refused(500);
    assert_eq!(taken(&harness).await, []);
    // Given up while the address is being taken.
    harness.store.faults().hold(Part::Writes);
    let chosen = service("a", &json!({"clusterIP": "10.96.0.5"}));
    let mut write = Box::pin(harness.post(SERVICES, &chosen));
    assert!((&mut write).now_or_never().is_none());
    tokio::task::yield_now().await;
    drop(write);
    harness.store.faults().let_go(Part::Writes);
    while harness.post(SERVICES, &chosen).await.status != 201 {
        tokio::task::yield_now().await;
    }
    until_taken(&harness, &[("10.96.0.5", "a")]).await;
}

/// The node ports of a Service, in order.
fn node_ports(service: &Value) -> Vec<u64> {
    let ports = service["spec"]["ports"].as_array().unwrap();
    ports.iter().filter_map(|port| port["nodePort"].as_u64()).collect()
}

fn node_port(name: &str, port: u64) -> Value {
    service(name, &json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}))
}

#[tokio::test]
async fn node_ports_come_from_the_upper_part_and_are_given_once() {
    let harness = serve(&["10.96.0.0/16"]).await;
    let dns = json!({"type": "NodePort", "ports": [
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53},
        {"name": "metrics", "port": 9153},
    ]});
    let made = harness.post(SERVICES, &service("dns", &dns)).await.ok();
    let got = node_ports(&made);
    assert!(got.iter().all(|port| (30_086..=32_767).contains(port)), "{got:?}");
    assert_eq!(got[0], got[1], "one port number has one node port");
    assert_ne!(got[0], got[2]);
    harness.post(SERVICES, &node_port("a", 30_080)).await.ok();
    for (port, why) in [
        (30_080, "provided port is already allocated"),
        (got[0], "provided port is already allocated"),
        (80, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
        (32_768, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
    ] {
        assert_eq!(
            harness.post(SERVICES, &node_port("b", port)).await.refused(422),
            format!("Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: {why}")
        );
    }
    // A refused Service leaves neither port nor address taken.
    assert_eq!(harness.get(SERVICES).await.ok()["items"].as_array().unwrap().len(), 2);
    while taken(&harness).await.len() != 2 {
        tokio::task::yield_now().await;
    }
    // An update that says nothing about the ports keeps them, by their names.
    let fewer = json!({"type": "NodePort", "ports": [
        {"name": "metrics", "port": 9154}, {"name": "dns", "port": 53, "protocol": "UDP"},
    ]});
    let changed = harness.put(&at("dns"), &service("dns", &fewer)).await.ok();
    assert_eq!(node_ports(&changed), [got[2], got[0]]);
    // The type changes: the ports are free.
    let changed = harness.merge(&at("a"), &json!({"spec": {"type": "ClusterIP"}})).await.ok();
    assert_eq!(node_ports(&changed), <[u64; 0]>::default());
    harness.post(SERVICES, &node_port("b", 30_080)).await.ok();
    harness.delete(&at("b")).await.ok();
    harness.post(SERVICES, &node_port("c", 30_080)).await.ok();
    let back = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_080}]}});
    harness.merge(&at("a"), &back).await.refused(422);
}

#[tokio::test]
async fn a_balancer_has_node_ports_where_it_wants_and_one_for_its_health() {
    let harness = serve(&["10.96.0.0/16"]).await;
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
    let made = harness.post(SERVICES, &service("a", &local)).await.ok();
    let health = made["spec"]["healthCheckNodePort"].as_u64().unwrap();
    let ports = node_ports(&made);
    assert!(ports.len() == 1 && ports[0] != health);
    assert_eq!(
        harness.post(SERVICES, &node_port("b", health)).await.refused(422),
        format!(
            "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: {health}: provided port is already allocated"
        )
    );
    let asked =
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": health});
    assert_eq!(
        harness.post(SERVICES, &service("b", &asked)).await.refused(500),
        format!(
            "Internal error occurred: failed to allocate requested HealthCheck NodePort {health}: provided port is already allocated"
        )
    );
    let changed = harness.merge(&at("a"), &json!({"spec": {"externalTrafficPolicy": "Cluster"}})).await.ok();
    assert_eq!(changed["spec"].get("healthCheckNodePort"), None);
    harness.post(SERVICES, &node_port("b", health)).await.ok();
    let none = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false});
    let made = harness.post(SERVICES, &service("none", &none)).await.ok();
    assert_eq!(node_ports(&made), <[u64; 0]>::default());
    let dry = harness.post(&format!("{SERVICES}?dryRun=All"), &service("dry", &local)).await.ok();
    assert_eq!((node_ports(&dry), dry["spec"]["healthCheckNodePort"].as_u64()), (vec![32_769], Some(32_770)));
}

#[tokio::test]
async fn creators_at_once_get_different_node_ports_until_there_are_none() {
    let harness = serve(&["10.96.0.0/16"]).await;
    let chosen: Vec<_> = (0..64).map(|i| node_port(&format!("c{i}"), 30_000)).collect();
    let answers = join_all(chosen.iter().map(|service| harness.post(SERVICES, service))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    // 2768 ports in all; 64 Services with 43 ports each want 2752 of them.
    let many = |i: usize| {
        let ports: Vec<_> = (1..=43).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
        service(&format!("s{i}"), &json!({"type": "NodePort", "ports": ports}))
    };
    let services: Vec<_> = (0..64).map(many).collect();
    let answers = join_all(services.iter().map(|service| harness.post(SERVICES, service))).await;
    let ports: Vec<_> = answers.into_iter().flat_map(|answer| node_ports(&answer.ok())).collect();
    let different: HashSet<_> = ports.iter().collect();
    assert_eq!((ports.len(), different.len()), (2752, 2752));
    // 15 are left.
    assert_eq!(
        harness.post(SERVICES, &many(64)).await.refused(500),
        "Internal error occurred: failed to allocate a nodePort: range is full"
    );
    harness.delete(&at("s3")).await.ok();
    harness.post(SERVICES, &many(64)).await.ok();
}

#[tokio::test]
async fn a_server_that_starts_anew_knows_the_ports_that_are_stored() {
    let store = Memory::new(Config::default());
    let second = store.another();
    let harness = on(store).await;
    add_range(&harness, "kubernetes", &["10.96.0.0/16"]).await;
    harness.post(SERVICES, &node_port("a", 30_080)).await.ok();
    drop(harness);
    let harness = on(second).await;
    harness.post(SERVICES, &node_port("b", 30_080)).await.refused(422);
    harness.post(SERVICES, &node_port("b", 30_081)).await.ok();
}
