//! Scripts: Services and slices in, elements of the table's sets out. `UPDATE_GOLDEN=1` writes what comes out.

use std::fmt::Write;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::address::{Endpoint, Front};
use super::state::{Changes, Found, State};
use super::wanted::{Machine, wanted};
use super::way::List;
use super::*;
use crate::protocol::Protocol;

/// Compares with the file in `testdata/services`.
#[track_caller]
fn check(name: &str, text: &str) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/services").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{}", path.display());
}

fn machine() -> Machine {
    Machine {
        here: Here { node: "here".into(), zone: Some("east".into()) },
        addresses: vec![Ipv4Addr::new(192, 0, 2, 1)],
        answered: vec![Ipv4Addr::new(10, 96, 0, 1)],
    }
}

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
        .expect("a Service")
}

/// A slice of port 8080 (`http`); an endpoint is `ADDRESS NODE` and words that say what it is.
fn slice(endpoints: &[&str]) -> EndpointSlice {
    let one = |text: &&str| {
        let words: Vec<&str> = text.split(' ').collect();
        let is = |word: &str| words.contains(&word);
        let zone = words.iter().find_map(|word| word.strip_prefix("zone="));
        let hints = zone.map(|zone| json!({"forZones": [{"name": zone}]}));
        let node = words.get(1).filter(|node| **node != "anywhere");
        json!({
            "addresses": [words[0]], "nodeName": node, "hints": hints,
            "conditions": {
                "ready": !is("unready") && !is("leaving"), "serving": !is("unready"), "terminating": is("leaving"),
            },
        })
    };
    let endpoints: Vec<Value> = endpoints.iter().map(one).collect();
    let ports = json!([{"name": "http", "port": 8080}, {"name": "udp", "port": 5353, "protocol": "UDP"}]);
    let metadata = json!({"name": "web-1", "namespace": "shop"});
    serde_json::from_value(
        json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}),
    )
    .expect("a slice")
}

fn show(changes: &Changes) -> String {
    let mut text = String::new();
    let mut line = |text_: std::fmt::Arguments<'_>| writeln!(text, "{text_}").expect("a String takes all");
    changes.ways.iter().for_each(|(way, number)| line(format_args!("  way {number} {way}")));
    for (sign, fronts) in [('-', &changes.fronts.gone), ('+', &changes.fronts.come)] {
        fronts.iter().for_each(|(front, way)| line(format_args!("  {sign} front {front}: way {way}")));
    }
    for (sign, pools) in [('-', &changes.pools.gone), ('+', &changes.pools.come)] {
        for ((front, list), pool) in pools {
            line(format_args!("  {sign} front {front} {list:?}: pool {pool}"));
        }
    }
    for (sign, seats) in [('-', &changes.seats.gone), ('+', &changes.seats.come)] {
        for ((pool, place), endpoint) in seats {
            line(format_args!("  {sign} endpoint {pool}.{place}: {endpoint}"));
        }
    }
    for (sign, handles) in [('-', &changes.handles.gone), ('+', &changes.handles.come)] {
        for ((pool, place), handle) in handles {
            line(format_args!("  {sign} handle {pool}.{place}: {handle:x}"));
        }
    }
    for (sign, ends) in [('-', &changes.ends.gone), ('+', &changes.ends.come)] {
        ends.iter().for_each(|(handle, endpoint)| line(format_args!("  {sign} end {handle:x}: {endpoint}")));
    }
    for (sign, loops) in [('-', &changes.loops.gone), ('+', &changes.loops.come)] {
        loops.iter().for_each(|(address, ())| line(format_args!("  {sign} loop {address}")));
    }
    for (sign, sources) in [('-', &changes.sources.gone), ('+', &changes.sources.come)] {
        for ((front, range), ()) in sources {
            line(format_args!("  {sign} source {front}: {}-{}", range.first, range.last));
        }
    }
    if text.is_empty() { "  nothing\n".into() } else { text }
}

/// Applies one Service state after the other.
struct Script {
    state: State,
    text: String,
}

impl Script {
    fn new() -> Self {
        Self { state: State::of(Found::default()), text: String::new() }
    }

    fn step(&mut self, what: &str, name: &str, service: Option<&Service>, endpoints: &[&str]) -> &mut Self {
        let slice = slice(endpoints);
        let wanted = service.map(|service| wanted(service, &[&slice], &machine())).unwrap_or_default();
        let again = self.state.apply(&Key::new("shop", name), wanted);
        let changes = self.state.take_changes();
        writeln!(self.text, "{what}").expect("a String takes all");
        again.iter().for_each(|key| writeln!(self.text, "  again: {key}").expect("a String takes all"));
        self.text.push_str(&show(&changes));
        self
    }
}

fn spec(more: &Value) -> Service {
    let mut spec = json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]});
    for (key, value) in more.as_object().expect("fields") {
        spec[key] = value.clone();
    }
    let mut service = service(spec);
    if let Some(status) = more.get("status") {
        service.status = serde_json::from_value(status.clone()).expect("a status");
    }
    service
}

#[test]
fn endpoints_come_and_go() {
    let mut script = Script::new();
    let web = spec(&json!({}));
    script
        .step("a Service without endpoints", "web", Some(&web), &[])
        .step("the first", "web", Some(&web), &["10.0.0.5 here"])
        .step("two more", "web", Some(&web), &["10.0.0.5 here", "10.0.0.6 there", "10.0.0.7 there"])
        .step("the same", "web", Some(&web), &["10.0.0.5 here", "10.0.0.6 there", "10.0.0.7 there"])
        .step("the first goes", "web", Some(&web), &["10.0.0.6 there", "10.0.0.7 there"])
        .step("one is exchanged", "web", Some(&web), &["10.0.0.6 there", "10.0.0.8 there"])
        .step("one is not ready", "web", Some(&web), &["10.0.0.6 there", "10.0.0.8 there unready"])
        .step("all are leaving", "web", Some(&web), &["10.0.0.6 there leaving", "10.0.0.8 there leaving"])
        .step("none is left", "web", Some(&web), &["10.0.0.6 there unready"])
        .step("the Service is deleted", "web", None, &[]);
    check("endpoints", &script.text);
}

#[test]
fn services_are_reached_from_outside() {
    let ports = json!([{"name": "http", "port": 80, "nodePort": 30080}]);
    let here_and_there = ["10.0.0.5 here", "10.0.0.6 there"];
    let status = json!({"loadBalancer": {"ingress": [
        {"ip": "198.51.100.1"}, {"ip": "198.51.100.2", "ipMode": "Proxy"}, {"hostname": "x"}]}});
    let balanced = spec(&json!({"type": "LoadBalancer", "ports": ports, "externalIPs": ["203.0.113.9"],
        "loadBalancerSourceRanges": ["192.0.2.0/24", " 192.0.2.128/25", "2001:db8::/32"], "status": status}));
    let local = spec(&json!({"type": "NodePort", "ports": ports, "externalTrafficPolicy": "Local"}));
    let inside = spec(&json!({"internalTrafficPolicy": "Local"}));
    let mut script = Script::new();
    script
        .step("a load balancer's addresses", "web", Some(&balanced), &here_and_there)
        .step("a node port of local endpoints", "web", Some(&local), &here_and_there)
        .step("endpoints elsewhere only", "web", Some(&local), &here_and_there[1..])
        .step("no endpoints", "web", Some(&local), &[])
        .step("local endpoints for clients inside", "web", Some(&inside), &here_and_there)
        .step("endpoints elsewhere only", "web", Some(&inside), &here_and_there[1..]);
    check("outside", &script.text);
}

#[test]
fn clients_stay_with_endpoints() {
    let sticky = spec(&json!({"sessionAffinity": "ClientIP"}));
    let short = spec(&json!({"sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}));
    let mut script = Script::new();
    script
        .step("an endpoint", "web", Some(&sticky), &["10.0.0.5 there"])
        .step("another instead", "web", Some(&sticky), &["10.0.0.6 there"])
        .step("for a shorter time", "web", Some(&short), &["10.0.0.6 there"])
        .step("not any more", "web", Some(&spec(&json!({}))), &["10.0.0.6 there"]);
    check("affinity", &script.text);
}

#[test]
fn hints_count_where_all_have_them() {
    let web = spec(&json!({}));
    let mut script = Script::new();
    script
        .step("all have", "web", Some(&web), &["10.0.0.5 a zone=east", "10.0.0.6 b zone=west"])
        .step("one has none", "web", Some(&web), &["10.0.0.5 a zone=east", "10.0.0.6 b"])
        .step("none for here", "web", Some(&web), &["10.0.0.5 a zone=north", "10.0.0.6 b zone=west"]);
    check("hints", &script.text);
}

#[test]
fn an_endpoint_of_no_node_may_call_itself() {
    let made_by_hand = slice(&["10.0.0.5 anywhere", "10.0.0.6 there"]);
    let found = wanted(&spec(&json!({})), &[&made_by_hand], &machine());
    let here: Vec<String> = found.iter().flat_map(|one| &one.here).map(ToString::to_string).collect();
    assert_eq!(here, ["10.0.0.5"]);
    assert!(found.iter().all(|one| one.local.is_empty()), "nobody says that it is here");
}

#[test]
fn services_without_a_proxy() {
    let none = spec(&json!({"clusterIP": "None"}));
    let name = spec(&json!({"type": "ExternalName", "clusterIP": ""}));
    let answered = spec(&json!({"clusterIP": "10.96.0.1"}));
    let mut other = spec(&json!({}));
    other.metadata.labels = Some([("service.kubernetes.io/service-proxy-name".into(), "x".into())].into());
    for service in [none, name, answered, other] {
        assert_eq!(wanted(&service, &[&slice(&["10.0.0.5 here"])], &machine()), []);
    }
}

#[test]
fn the_first_of_two_with_one_address_keeps_it() {
    let web = spec(&json!({}));
    let mut script = Script::new();
    script
        .step("the first", "a", Some(&web), &["10.0.0.5 there"])
        .step("the second", "b", Some(&web), &["10.0.0.6 there"])
        .step("the first goes", "a", None, &[])
        .step("the second again", "b", Some(&web), &["10.0.0.6 there"]);
    check("conflict", &script.text);
}

#[test]
fn what_the_kernel_has_is_kept_and_corrected() {
    let web = spec(&json!({}));
    let at = |last, port| Endpoint { address: Ipv4Addr::new(10, 0, 0, last), port };
    let front = Front { address: Ipv4Addr::new(10, 96, 0, 7), protocol: Protocol::Tcp, port: 80 };
    let stray = Front { port: 81, ..front };
    let three = wanted(&web, &[&slice(&["10.0.0.5 here", "10.0.0.6 there", "10.0.0.7 there"])], &machine());
    let found = Found {
        ways: vec![(4, "internal-2".into()), (7, "internal-3".into())],
        fronts: vec![(front, 7), (stray, 7)],
        pools: vec![((front, List::Cluster), 5), ((stray, List::Cluster), 6)],
        // In the order that changes have left; of the last the rest was not told.
        seats: vec![
            ((5, 0), at(7, 8080)),
            ((5, 1), at(5, 8080)),
            ((5, 2), at(6, 8080)),
            ((5, 4), at(9, 8080)),
            ((6, 0), at(9, 8080)),
        ],
        handles: vec![((5, 0), 0x8000_0005), ((6, 0), 0x8000_0006)],
        ends: vec![(0x8000_0005, at(7, 8080))],
        remembered: vec![0x8000_0009],
        loops: vec![Ipv4Addr::new(10, 0, 0, 9)],
        sources: vec![],
    };
    let mut script = Script { state: State::of(found), text: String::new() };
    script.state.apply(&Key::new("shop", "web"), three);
    script.state.sweep();
    let changes = script.state.take_changes();
    writeln!(script.text, "what is corrected\n{}", show(&changes).trim_end()).expect("a String takes all");
    let sticky = spec(&json!({"sessionAffinity": "ClientIP"}));
    script.step("one goes", "web", Some(&web), &["10.0.0.5 here", "10.0.0.6 there"]).step(
        "clients are to stay",
        "web",
        Some(&sticky),
        &["10.0.0.5 here", "10.0.0.6 there"],
    );
    check("correction", &script.text);
}
