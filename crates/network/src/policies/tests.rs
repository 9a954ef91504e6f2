//! Tests of planning: the sets as a kernel would have them, and what passes by them, beside what the policies say.

mod model;
mod random;

use std::net::Ipv4Addr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use model::{Model, address, key, labels, pod};

use super::policy::Direction;
use crate::protocol::Protocol::{Sctp, Tcp, Udp};

fn policy(model: &mut Model, name: &str, spec: Value) {
    model.policy("here", name, Some(spec));
}

/// Three pods of one namespace and one of another, none of them isolated.
fn model() -> Model {
    let mut model = Model::default();
    model.namespace("here", Some(&[("team", "a")]));
    model.namespace("there", Some(&[("team", "b")]));
    for (number, name) in (1u8..).zip(["web", "db", "cache"]) {
        model.pod("here", name, Some(pod(number, &[("app", name)])));
    }
    model.pod("there", "web", Some(pod(4, &[("app", "web")])));
    model
}

const WEB: Ipv4Addr = address(1);
const DB: Ipv4Addr = address(2);
const CACHE: Ipv4Addr = address(3);
const OTHER_WEB: Ipv4Addr = address(4);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

#[test]
fn without_rules_nothing_passes_but_a_pods_own() {
    let mut model = model();
    policy(
        &mut model,
        "deny",
        json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]}),
    );
    assert!(!model.passes(WEB, DB, Tcp, 80) && !model.passes(OUTSIDE, DB, Udp, 80));
    assert!(model.passes(DB, DB, Tcp, 80), "it reaches itself");
    assert!(model.passes(DB, WEB, Tcp, 80), "the other direction is free");
    policy(&mut model, "deny", json!({"podSelector": {}, "policyTypes": ["Egress"]}));
    assert!(model.passes(OTHER_WEB, DB, Tcp, 80) && !model.passes(DB, WEB, Tcp, 80));
    model.policy("here", "deny", None);
    assert!(model.passes(WEB, DB, Tcp, 80) && model.passes(DB, WEB, Tcp, 80));
    assert_eq!(model.elements(), 0, "nothing is left");
}

#[test]
fn peers_are_pods_of_the_namespace_or_of_selected_ones_or_both() {
    let mut model = model();
    let from =
        |peers: Value| json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": peers}]});
    let web = json!({"matchLabels": {"app": "web"}});
    policy(&mut model, "p", from(json!([{"podSelector": web}])));
    let who = |model: &Model| [WEB, CACHE, OTHER_WEB].map(|from| model.passes(from, DB, Tcp, 1));
    assert_eq!(who(&model), [true, false, false]);
    policy(&mut model, "p", from(json!([{"namespaceSelector": {"matchLabels": {"team": "b"}}}])));
    assert_eq!(who(&model), [false, false, true]);
    policy(&mut model, "p", from(json!([{"namespaceSelector": {}, "podSelector": web}])));
    assert_eq!(who(&model), [true, false, true]);
    policy(
        &mut model,
        "p",
        from(json!([{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"team": "b"}}}])),
    );
    assert_eq!(who(&model), [true, true, true]);
    model.namespace("there", Some(&[("team", "c")]));
    assert_eq!(who(&model), [true, true, false], "a namespace's labels change");
    policy(&mut model, "p", from(json!([{"ipBlock": {"cidr": "::/0"}}])));
    assert_eq!(who(&model), [false; 3], "addresses of IPv6 are not everybody's");
    policy(&mut model, "p", from(json!([])));
    assert_eq!(who(&model), [true; 3], "no peers are all peers");
    assert_eq!(model.elements(), 0, "who lets everything pass needs no rules");
}

#[test]
fn blocks_except_what_they_say_and_hold_pods_too() {
    let mut model = model();
    let block = json!({"cidr": "192.0.2.0/24", "except": ["192.0.2.0/30", "192.0.2.128/25"]});
    let pods = json!({"cidr": "10.244.0.0/31"});
    policy(
        &mut model,
        "p",
        json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}, {"ipBlock": pods}]}]}),
    );
    let from = |last| model.passes(Ipv4Addr::new(192, 0, 2, last), DB, Tcp, 1);
    assert_eq!([3, 4, 127, 128, 255].map(from), [false, true, true, false, false]);
    assert!(model.passes(WEB, DB, Tcp, 1) && !model.passes(CACHE, DB, Tcp, 1));
}

#[test]
fn ports_are_numbers_ranges_names_and_whole_protocols() {
    let mut model = model();
    let ports = json!([
        {"port": 80}, {"port": 100, "endPort": 102}, {"protocol": "UDP"}, {"protocol": "SCTP", "port": 9},
        {"port": "http"}, {"port": "none"},
    ]);
    let mut named = pod(2, &[("app", "db")]);
    named.ports =
        vec![model::port("http", Tcp, 8080), model::port("http", Udp, 1), model::port("other", Tcp, 7)];
    model.pod("here", "db", Some(named));
    policy(&mut model, "p", json!({"podSelector": {}, "ingress": [{"ports": ports}]}));
    let tcp = |to, port| model.passes(WEB, to, Tcp, port);
    assert_eq!(
        [79, 80, 81, 99, 100, 102, 103].map(|port| tcp(DB, port)),
        [false, true, false, false, true, true, false]
    );
    assert!(
        model.passes(WEB, DB, Udp, 5) && model.passes(WEB, DB, Sctp, 9) && !model.passes(WEB, DB, Sctp, 8)
    );
    assert!(tcp(DB, 8080) && !tcp(CACHE, 8080), "a name is the selected pod's own");
    assert!(!tcp(DB, 7) && !model.ping(WEB, DB), "and nothing else passes");
    let only_name = json!({"podSelector": {}, "ingress": [{"ports": [{"port": "none"}]}]});
    policy(&mut model, "p", only_name);
    assert!(!model.passes(WEB, DB, Tcp, 80), "a name that nobody has is no port, not all");
}

#[test]
fn names_of_egress_are_the_peers_own() {
    let mut model = model();
    for (number, name, port) in [(2, "db", 5432), (3, "cache", 6379)] {
        let mut named = pod(number, &[("app", name)]);
        named.ports = vec![model::port("main", Tcp, port)];
        model.pod("here", name, Some(named));
    }
    let to = |peers: Value| {
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
            "egress": [{"to": peers, "ports": [{"port": "main"}, {"port": 53, "protocol": "UDP"}]}]})
    };
    policy(&mut model, "p", to(json!([])));
    assert!(model.passes(WEB, DB, Tcp, 5432) && model.passes(WEB, CACHE, Tcp, 6379));
    assert!(!model.passes(WEB, DB, Tcp, 6379) && !model.passes(WEB, DB, Udp, 5432));
    assert!(model.passes(WEB, OUTSIDE, Udp, 53) && !model.passes(WEB, OUTSIDE, Tcp, 5432));
    policy(&mut model, "p", to(json!([{"podSelector": {"matchLabels": {"app": "db"}}}])));
    assert!(model.passes(WEB, DB, Tcp, 5432) && !model.passes(WEB, CACHE, Tcp, 6379));
    assert!(model.passes(WEB, DB, Udp, 53) && !model.passes(WEB, OUTSIDE, Udp, 53));
    policy(&mut model, "p", to(json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}])));
    assert!(!model.passes(WEB, DB, Tcp, 5432), "addresses have no names");
    assert!(model.passes(WEB, OUTSIDE, Udp, 53));
}

#[test]
fn pods_with_the_same_rules_share_a_chain_and_a_pod_changes_elements_only() {
    let mut model = model();
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": {}}]}], "egress": [{"to": [{"podSelector": {}}]}]});
    policy(&mut model, "p", spec.clone());
    assert_eq!(model.chains(), 2, "one for each direction");
    let changes = model.pod("here", "new", Some(pod(9, &[("app", "new")])));
    assert!(!changes.changes_chains());
    assert_eq!(
        changes.len(),
        4,
        "two leads, itself, and one member: equal peers of both directions are one group"
    );
    assert!(model.passes(address(9), DB, Tcp, 1));
    let changes = model.pod("here", "new", Some(pod(9, &[("app", "other")])));
    assert_eq!(changes.len(), 0, "other labels, and nothing that depends on them");
    let changes = model.policy("here", "p", Some(spec));
    assert!(changes.is_empty());
    assert_eq!(model.pod("here", "new", None).len(), 5, "the member goes, and its address leads elsewhere");
    assert_eq!(model.release(9).len(), 3);
}

#[test]
fn nothing_passes_to_a_pod_that_is_gone_until_its_address_is_free() {
    let mut model = model();
    policy(
        &mut model,
        "p",
        json!({"podSelector": {}, "ingress": [{}, {"from": [{"podSelector": {}}]}],
        "policyTypes": ["Egress"], "egress": []}),
    );
    model.pod("here", "db", None);
    assert!(!model.passes(DB, OUTSIDE, Tcp, 1), "deleted by force; its processes may run still");
    model.release(2);
    assert!(model.passes(DB, OUTSIDE, Tcp, 1), "nobody has the address");
    // As pods usually end.
    model.release(3);
    assert!(!model.passes(CACHE, OUTSIDE, Tcp, 1), "the pod is still known");
    model.pod("here", "cache", None);
    assert!(model.passes(CACHE, OUTSIDE, Tcp, 1));
    // An address that another pod has now.
    model.pod("here", "web", None);
    model.pod("there", "late", Some(model::pod_without_address(&[])));
    model.give("there", "late", 1);
    assert!(model.passes(WEB, OUTSIDE, Tcp, 1), "no policy is about the other pod");
    model.policy("here", "p", None);
    assert_eq!(model.elements(), 0);
}

#[test]
fn a_pod_has_its_rules_as_soon_as_it_has_an_address() {
    let mut model = model();
    policy(
        &mut model,
        "p",
        json!({"podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}),
    );
    model.pod("here", "db-2", Some(model::pod_without_address(&[("app", "db")])));
    model.pod("here", "web-2", Some(model::pod_without_address(&[("app", "web")])));
    model.give("here", "db-2", 20);
    model.give("here", "web-2", 21);
    assert!(model.passes(address(21), address(20), Tcp, 1) && !model.passes(CACHE, address(20), Tcp, 1));
    // The former holder's status lags behind.
    model.give("here", "db-2", 21);
    assert!(!model.passes(address(21), DB, Tcp, 1) && model.passes(WEB, address(21), Tcp, 1));
    let mut late = pod(21, &[("app", "web")]);
    late.uid = "web-2".into();
    model.pod("here", "web-2", Some(late));
    assert!(!model.passes(address(21), DB, Tcp, 1), "who was given it later has it");
    let mut again = model::pod_without_address(&[("app", "db")]);
    again.uid = "another".into();
    model.pod("here", "db-2", Some(again));
    assert!(model.passes(address(21), DB, Tcp, 1), "another pod of the name was given nothing");
}

#[test]
fn pods_of_other_machines_are_peers_and_not_isolated_here() {
    let mut model = model();
    let mut far = pod(30, &[("app", "db")]);
    far.is_here = false;
    model.pod("here", "far", Some(far));
    policy(
        &mut model,
        "p",
        json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "db"}}}]}]}),
    );
    assert!(model.passes(address(30), DB, Tcp, 1) && !model.passes(WEB, DB, Tcp, 1));
    assert!(model.passes(WEB, address(30), Tcp, 1), "the other machine's task");
    assert!(!model.passes(DB, address(30), Tcp, 1));
}

#[test]
fn what_the_kernel_had_is_replaced_and_who_is_not_known_yet_stays_closed() {
    let mut model = model();
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}},
        {"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 80}]}]});
    policy(&mut model, "p", spec.clone());
    let (chains, elements) = (model.chains(), model.elements());
    model.restart(|model| {
        model.namespace("here", Some(&[("team", "a")]));
        for (number, name) in [(1, "web"), (2, "db")] {
            model.pod("here", name, Some(pod(number, &[("app", name)])));
        }
        policy(model, "p", spec.clone());
    });
    assert!(
        model.passes(WEB, DB, Tcp, 80)
            && !model.passes(WEB, DB, Tcp, 81)
            && model.passes(OUTSIDE, DB, Tcp, 80)
    );
    assert!(!model.passes(WEB, CACHE, Tcp, 80), "nobody knows whose the address is");
    assert_eq!((model.chains(), model.elements()), (chains, elements), "nothing of what was is left");
    model.pod("here", "cache", Some(pod(3, &[("app", "cache")])));
    assert!(model.passes(WEB, CACHE, Tcp, 80));
}

#[test]
fn types_are_the_api_servers_default_where_there_are_none() {
    let of = |spec: Value| {
        let policy: NetworkPolicy = serde_json::from_value(json!({"spec": spec})).expect("a policy");
        let policy = super::policy::Policy::of(&key("here", "p").namespace, &policy);
        assert!(policy.selects(&labels(&[])));
        Direction::BOTH.map(|direction| policy.rules(direction).map(<[_]>::len))
    };
    assert_eq!(of(json!({})), [Some(0), None]);
    assert_eq!(of(json!({"egress": []})), [Some(0), None]);
    assert_eq!(of(json!({"egress": [{}]})), [Some(0), Some(1)]);
    assert_eq!(of(json!({"ingress": [{}], "policyTypes": ["Egress"]})), [None, Some(0)]);
}
