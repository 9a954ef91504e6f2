use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn node(name: &str, cpu: &str, extra: Value) -> Node {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "110"}},
    });
    if let (Some(spec), Some(labels)) = (extra.get("spec"), value["metadata"]["labels"].as_object_mut()) {
        for (key, label) in extra.get("labels").and_then(Value::as_object).into_iter().flatten() {
            labels.insert(key.clone(), label.clone());
        }
        value["spec"] = spec.clone();
    }
    serde_json::from_value(value).expect("a node")
}

fn pod(name: &str, spec: Value) -> PodInfo {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec,
    }))
    .expect("a pod");
    PodInfo::new(&pod)
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
}

fn table(nodes: &[Node]) -> Nodes {
    let mut table = Nodes::default();
    for node in nodes {
        table.set_node(node);
    }
    table
}

fn check_message(nodes: &mut Nodes, spec: Value, expected: &str) {
    let (decision, _) = decide(&pod("p", spec), nodes, Chance::default());
    let Decision::Unschedulable(refusal) = decision else { panic!("{decision:?}") };
    assert_eq!(refusal.message(), expected);
}

#[test]
fn refusals_are_told_in_upstreams_words() {
    check_message(&mut Nodes::default(), asks("1"), "no nodes available to schedule pods");
    let mut nodes = table(&[
        node("a", "1", json!({})),
        node("b", "4", json!({"spec": {"unschedulable": true}})),
        node("c", "4", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}})),
    ]);
    nodes.place(&pod("filler", asks("500m")), "a");
    check_message(
        &mut nodes,
        asks("800m"),
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were \
         unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims \
         found for incoming pod, 2 Preemption is not helpful for scheduling.",
    );
    check_message(
        &mut table(&[node("a", "1", json!({}))]),
        json!({"containers": [{"name": "c"}], "nodeSelector": {"gpu": "true"}}),
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, \
         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn whether_others_may_have_to_go_is_told() {
    let mut nodes = table(&[node("a", "1", json!({}))]);
    nodes.place(&pod("low", asks("500m")), "a");
    let mut important = asks("800m");
    important["priority"] = 1000.into();
    let may = |nodes: &mut Nodes, spec: &Value| {
        let (decision, _) = decide(&pod("p", spec.clone()), nodes, Chance::default());
        let Decision::Unschedulable(refusal) = decision else { panic!("{decision:?}") };
        refusal.may_preempt
    };
    assert!(may(&mut nodes, &important));
    assert!(!may(&mut nodes, &asks("800m")), "its equals stay");
    let mut too_big = asks("1500m");
    too_big["priority"] = 1000.into();
    assert!(!may(&mut nodes, &too_big), "the empty node would be too small");
    important["preemptionPolicy"] = "Never".into();
    check_message(
        &mut nodes,
        important,
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to \
         preemptionPolicy=Never.",
    );
}

#[test]
fn host_ports_belong_to_one_pod() {
    let ports = |port: u16| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port}]}]});
    let mut nodes = table(&[node("a", "4", json!({}))]);
    nodes.place(&pod("first", ports(8888)), "a");
    check_message(
        &mut nodes,
        ports(8888),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to \
         deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
    assert!(matches!(decide(&pod("p", ports(8889)), &mut nodes, Chance::default()).0, Decision::Bind(_)));
    assert!(nodes.remove_pod("first").is_some());
    assert!(matches!(decide(&pod("p", ports(8888)), &mut nodes, Chance::default()).0, Decision::Bind(_)));
}

#[test]
fn affinity_taints_and_preferences_lead_to_a_node() {
    let mut nodes = table(&[
        node("plain", "4", json!({})),
        node("gpu", "4", json!({"labels": {"gpu": "2"}, "spec": {}})),
        node(
            "tainted",
            "4",
            json!({"labels": {"gpu": "9"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
        ),
    ]);
    let affinity = |operator: &str, value: &str| {
        json!({"containers": [{"name": "c"}], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "gpu", "operator": operator, "values": [value]}]}]}}}})
    };
    let mut bind = |spec: Value| decide(&pod("p", spec), &mut nodes, Chance::default()).0;
    assert_eq!(bind(affinity("Gt", "1")), Decision::Bind("gpu".into()));
    let mut tolerant = affinity("Gt", "5");
    tolerant["tolerations"] = json!([{"key": "k", "operator": "Exists"}]);
    assert_eq!(bind(tolerant), Decision::Bind("tainted".into()));
    let preferring = json!({"containers": [{"name": "c"}], "affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "preference":
            {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}}]}}});
    assert_eq!(bind(preferring), Decision::Bind("gpu".into()));
}

#[test]
fn equal_nodes_share_the_load() {
    let mut nodes = table(&[node("a", "4", json!({})), node("b", "4", json!({})), node("c", "4", json!({}))]);
    for i in 0..9 {
        let pod = pod(&format!("p{i}"), asks("100m"));
        let Decision::Bind(chosen) = decide(&pod, &mut nodes, Chance { start: 0, tie: i }).0 else {
            panic!("pod {i} must fit");
        };
        nodes.place(&pod, &chosen);
    }
    assert!(nodes.iter().all(|node| node.pods == 3));
}

proptest! {
    #[test]
    fn no_node_is_ever_over_committed(sizes in proptest::collection::vec(1u32..2500, 1..80), seed in any::<u64>()) {
        let mut nodes = table(&[node("a", "3", json!({})), node("b", "2", json!({})), node("c", "1500m", json!({}))]);
        let mut start = 0;
        for (i, size) in sizes.iter().enumerate() {
            let pod = pod(&format!("p{i}"), asks(&format!("{size}m")));
            let (decision, next) = decide(&pod, &mut nodes, Chance { start, tie: seed.wrapping_add(i as u64) });
            start = next;
            if let Decision::Bind(chosen) = decision {
                nodes.place(&pod, &chosen);
            }
            if i % 7 == 3 {
                nodes.remove_pod(&format!("p{}", i / 2));
            }
            for node in nodes.iter() {
                prop_assert!(node.requested.cpu_milli <= node.allocatable.cpu_milli);
                prop_assert!(node.requested.cpu_milli >= 0);
            }
        }
    }
}

/// Three nodes in two zones, with pods labelled `app=web` as told: how many on `a` (zone 1), `b` and `c` (zone 2).
fn zones(placed: [usize; 3]) -> Nodes {
    let zoned = |name: &str, zone: &str| node(name, "4", json!({"labels": {"zone": zone}, "spec": {}}));
    let mut nodes = table(&[zoned("a", "1"), zoned("b", "2"), zoned("c", "2")]);
    for (node, count) in ["a", "b", "c"].into_iter().zip(placed) {
        for i in 0..count {
            nodes.place(&web(&format!("{node}{i}"), json!({})), node);
        }
    }
    nodes
}

fn web(name: &str, spec: Value) -> PodInfo {
    labelled(name, "default", "web", spec)
}

fn labelled(name: &str, namespace: &str, app: &str, mut spec: Value) -> PodInfo {
    spec["containers"] = json!([{"name": "c"}]);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": {"app": app}}, "spec": spec,
    }))
    .expect("a pod");
    PodInfo::new(&pod)
}

fn affinity(kind: &str, topology_key: &str) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": topology_key, "labelSelector": {"matchLabels": {"app": "web"}}}]}}})
}

fn check_choice(nodes: &mut Nodes, pod: &PodInfo, expected: &str) {
    match decide(pod, nodes, Chance::default()).0 {
        Decision::Bind(node) => assert_eq!(node, expected),
        Decision::Unschedulable(why) => {
            let reasons = why.reasons.trim_end_matches('.');
            assert_eq!(reasons.trim_start_matches("0/3 nodes are available: "), expected);
        }
    }
}

#[test]
fn pods_keep_apart_from_those_they_must_not_be_near_to() {
    let by_node = affinity("podAntiAffinity", "kubernetes.io/hostname");
    check_choice(&mut zones([1, 1, 0]), &web("p", by_node.clone()), "c");
    check_choice(&mut zones([0, 1, 0]), &web("p", affinity("podAntiAffinity", "zone")), "a");
    check_choice(
        &mut zones([1, 1, 1]),
        &web("p", by_node.clone()),
        "3 node(s) didn't match pod anti-affinity rules",
    );
    check_choice(&mut zones([1, 1, 1]), &labelled("p", "other", "web", json!({"nodeName": "b"})), "b");

    // Who is there may mind, too.
    let mut nodes = zones([0, 0, 0]);
    nodes.place(&labelled("loner", "default", "loner", affinity("podAntiAffinity", "zone")), "b");
    check_choice(&mut nodes, &web("p", json!({})), "a");
    nodes.place(&labelled("loner2", "default", "loner", affinity("podAntiAffinity", "zone")), "a");
    check_choice(
        &mut nodes,
        &web("p", json!({})),
        "3 node(s) didn't satisfy existing pods anti-affinity rules",
    );
    assert!(matches!(
        decide(&labelled("p", "other", "web", json!({})), &mut nodes, Chance::default()).0,
        Decision::Bind(_)
    ));
}

#[test]
fn pods_go_near_to_those_they_must_be_near_to() {
    let near = affinity("podAffinity", "zone");
    check_choice(&mut zones([1, 0, 0]), &labelled("p", "default", "other", near.clone()), "a");
    check_choice(
        &mut zones([0, 0, 0]),
        &labelled("p", "default", "other", near.clone()),
        "3 node(s) didn't match pod affinity rules",
    );
    assert!(
        matches!(decide(&web("p", near), &mut zones([0, 0, 0]), Chance::default()).0, Decision::Bind(_)),
        "the first of its sort may go anywhere"
    );
    check_choice(
        &mut zones([1, 0, 0]),
        &web("p", affinity("podAffinity", "rack")),
        "3 node(s) didn't match pod affinity rules",
    );

    let mut in_other = affinity("podAffinity", "kubernetes.io/hostname");
    let term = &mut in_other["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    term["namespaceSelector"] = json!({"matchLabels": {"team": "a"}});
    let mut nodes = zones([1, 0, 0]);
    nodes.place(&labelled("w", "other", "web", json!({})), "c");
    nodes.set_namespace("other", Some([("team".to_owned(), "a".to_owned())].into()));
    check_choice(&mut nodes, &labelled("p", "default", "db", in_other), "c");
}

fn spread(key: &str, when: &str, extra: Value) -> Value {
    let mut constraint = json!({
        "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        constraint[key] = value.clone();
    }
    json!({"topologySpreadConstraints": [constraint]})
}

#[test]
fn pods_lie_as_evenly_as_they_must() {
    let must = |key: &str| spread(key, "DoNotSchedule", json!({}));
    check_choice(&mut zones([1, 1, 0]), &web("p", must("kubernetes.io/hostname")), "c");
    check_choice(&mut zones([1, 1, 1]), &web("p", must("zone")), "a");
    let mut only_c = must("zone");
    only_c["nodeSelector"] = json!({"kubernetes.io/hostname": "c"});
    check_choice(&mut zones([0, 0, 1]), &web("p", only_c.clone()), "c");
    only_c["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = "Ignore".into();
    check_choice(
        &mut zones([0, 0, 1]),
        &web("p", only_c),
        "1 node(s) didn't match pod topology spread constraints, 2 node(s) didn't match Pod's node affinity/selector",
    );
    check_choice(
        &mut zones([0, 0, 0]),
        &web("p", must("rack")),
        "3 node(s) didn't match pod topology spread constraints (missing required label)",
    );
    let three_zones = spread("zone", "DoNotSchedule", json!({"minDomains": 3}));
    check_choice(
        &mut zones([1, 1, 0]),
        &web("p", three_zones),
        "3 node(s) didn't match pod topology spread constraints",
    );
    check_choice(&mut zones([5, 0, 0]), &labelled("p", "other", "web", only(must("zone"), "a")), "a");
}

fn only(mut spec: Value, node: &str) -> Value {
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    spec
}

#[test]
fn what_is_only_preferred_leads_and_never_holds_back() {
    let soft = spread("kubernetes.io/hostname", "ScheduleAnyway", json!({}));
    check_choice(&mut zones([3, 3, 2]), &web("p", soft.clone()), "c");
    check_choice(&mut zones([0, 0, 9]), &web("p", only(soft, "c")), "c");
    let nowhere = spread("rack", "ScheduleAnyway", json!({}));
    assert!(matches!(decide(&web("p", nowhere), &mut zones([0; 3]), Chance::default()).0, Decision::Bind(_)));

    let prefer = |kind: &str| {
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100,
            "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}}]}}})
    };
    check_choice(&mut zones([1, 1, 0]), &web("p", prefer("podAntiAffinity")), "c");
    check_choice(&mut zones([0, 1, 0]), &labelled("p", "default", "db", prefer("podAffinity")), "b");
    check_choice(&mut zones([0, 0, 1]), &web("p", only(prefer("podAntiAffinity"), "c")), "c");
}

#[test]
fn pods_may_be_known_before_their_node() {
    let mut nodes = zones([1, 0, 0]);
    check_choice(&mut nodes, &web("p", only(affinity("podAntiAffinity", "zone"), "b")), "b");
    nodes.place(&web("early", json!({})), "unknown");
    // Another wish by the same label.
    let even = only(spread("zone", "DoNotSchedule", json!({})), "c");
    check_choice(&mut nodes, &web("p", even), "c");
}
