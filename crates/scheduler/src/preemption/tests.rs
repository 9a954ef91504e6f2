//! Who has to go, in upstream's order of harms; and that looking for it changes nothing.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cycle::{Chance, Decision, decide, suits};
use crate::samples;

fn node(name: &str, cpu: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "20"}},
    }))
    .expect("a node")
}

fn pod(name: &str, priority: i32, cpu: &str, more: Value) -> PodInfo {
    let mut spec =
        json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": name.split('-').next()}}, "spec": spec,
    }))
    .expect("a pod");
    PodInfo::new(&pod)
}

fn plain(name: &str, priority: i32, cpu: &str) -> PodInfo {
    pod(name, priority, cpu, json!({}))
}

fn table(nodes: &[Node], placed: &[(PodInfo, &str)]) -> Nodes {
    let mut table = Nodes::default();
    for node in nodes {
        table.set_node(node);
    }
    for (pod, node) in placed {
        table.place(pod, node);
    }
    table
}

/// The node, and the victims' names.
fn found(pod: &PodInfo, nodes: &mut Nodes, budgets: &Budgets) -> Option<(String, Vec<String>)> {
    let (decision, _) = decide(pod, nodes, Chance::default());
    assert!(matches!(decision, Decision::Unschedulable(_)), "{decision:?}");
    let preemption = find(pod, nodes, &Nominations::default(), budgets, 0)?;
    let names = preemption.victims.iter().map(|victim| victim.key.name.to_string()).collect();
    Some((preemption.node.to_string(), names))
}

fn expect(found: Option<(String, Vec<String>)>, node: &str, victims: &[&str]) {
    assert_eq!(found, Some((node.to_owned(), victims.iter().map(|name| (*name).to_owned()).collect())));
}

#[test]
fn no_more_go_than_have_to_and_the_least_important_ones() {
    let placed = [
        (plain("a", 5, "1"), "n"),
        (plain("b", 1, "1"), "n"),
        (plain("c", 3, "1"), "n"),
        (plain("d", 9, "1"), "n"),
    ];
    let mut nodes = table(&[node("n", "4")], &placed);
    expect(found(&plain("p", 7, "2"), &mut nodes, &Budgets::default()), "n", &["c", "b"]);
    assert_eq!(found(&plain("p", 7, "3500m"), &mut nodes, &Budgets::default()), None, "the ninth stays");
    assert_eq!(found(&plain("p", 1, "1"), &mut nodes, &Budgets::default()), None, "equals stay");
    // Of equally important ones the younger goes.
    nodes.started("a", Some(100));
    nodes.started("c", Some(50));
    let mut nodes = table(&[node("n", "2")], &[(plain("a", 1, "1"), "n"), (plain("b", 1, "1"), "n")]);
    nodes.started("a", Some(100));
    nodes.started("b", Some(50));
    expect(found(&plain("p", 7, "1"), &mut nodes, &Budgets::default()), "n", &["a"]);
}

#[test]
fn the_node_is_chosen_by_upstreams_order_of_harms() {
    let all = [node("n1", "2"), node("n2", "2"), node("n3", "2")];
    let choose = |placed: &[(PodInfo, &str)]| {
        found(&plain("p", 50, "2"), &mut table(&all, placed), &Budgets::default())
    };
    // The lowest of the highest priorities, whatever their number.
    let placed = [
        (plain("a", 9, "2"), "n1"),
        (plain("b", 5, "1"), "n2"),
        (plain("c", 5, "1"), "n2"),
        (plain("d", 7, "2"), "n3"),
    ];
    expect(choose(&placed), "n2", &["b", "c"]);
    // Then the lowest sum, so the fewest.
    let placed = [
        (plain("a", 5, "1"), "n1"),
        (plain("b", 1, "1"), "n1"),
        (plain("c", 5, "2"), "n2"),
        (plain("d", 7, "2"), "n3"),
    ];
    expect(choose(&placed), "n2", &["c"]);
    // Then the one whose most important pod is the youngest.
    let placed = [(plain("a", 5, "2"), "n1"), (plain("b", 5, "2"), "n2"), (plain("c", 5, "2"), "n3")];
    let mut nodes = table(&all, &placed);
    for (uid, started) in [("a", 10), ("b", 30), ("c", 20)] {
        nodes.started(uid, Some(started));
    }
    expect(found(&plain("p", 50, "2"), &mut nodes, &Budgets::default()), "n2", &["b"]);
}

#[test]
fn budgets_are_kept_where_that_is_possible() {
    let mut budgets = Budgets::default();
    let budget = |allowed: i32, going: Value| -> PodDisruptionBudget {
        serde_json::from_value(json!({
            "metadata": {"name": "b", "namespace": "ns"},
            "spec": {"selector": {"matchLabels": {"app": "kept"}}},
            "status": {"disruptionsAllowed": allowed, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptedPods": going},
        }))
        .expect("a budget")
    };
    let key = Key::new("ns", "b");
    budgets.changed(&key, Some(&budget(0, json!({}))));
    let placed =
        [(plain("kept-1", 1, "1"), "n1"), (plain("free", 1, "1"), "n1"), (plain("kept-2", 1, "2"), "n2")];
    let mut nodes = table(&[node("n1", "2"), node("n2", "2")], &placed);
    // On the node itself, and between nodes although the other one's pod is less important.
    expect(found(&plain("p", 7, "1"), &mut nodes, &budgets), "n1", &["free"]);
    nodes.remove_pod("free");
    nodes.place(&plain("free", 6, "2"), "n1");
    nodes.remove_pod("kept-1");
    expect(found(&plain("p", 7, "1"), &mut nodes, &budgets), "n1", &["free"]);
    // Where it is not possible they are not.
    nodes.remove_pod("free");
    nodes.place(&plain("kept-1", 1, "2"), "n1");
    assert!(found(&plain("p", 7, "1"), &mut nodes, &budgets).is_some());
    // One whose eviction is counted already costs nothing more.
    budgets.changed(&key, Some(&budget(0, json!({"kept-2": "2026-01-01T00:00:00Z"}))));
    expect(found(&plain("p", 7, "1"), &mut nodes, &budgets), "n2", &["kept-2"]);
    budgets.changed(&key, None);
    assert!(found(&plain("p", 7, "1"), &mut nodes, &budgets).is_some());
}

#[test]
fn rules_about_other_pods_count() {
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "loud"}}}]}}});
    let placed = [(plain("loud", 1, "100m"), "n"), (plain("quiet", 1, "100m"), "n")];
    let mut nodes = table(&[node("n", "4")], &placed);
    expect(found(&pod("p", 7, "1", apart.clone()), &mut nodes, &Budgets::default()), "n", &["loud"]);
    // And those of the pods that are there about the one to come.
    let mut nodes =
        table(&[node("n", "4")], &[(pod("shy", 1, "1", apart), "n"), (plain("quiet", 1, "1"), "n")]);
    expect(found(&plain("loud", 7, "1"), &mut nodes, &Budgets::default()), "n", &["shy"]);
    let ports = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let mut nodes =
        table(&[node("n", "4")], &[(pod("web", 1, "1", ports.clone()), "n"), (plain("quiet", 1, "1"), "n")]);
    expect(found(&pod("p", 7, "1", ports), &mut nodes, &Budgets::default()), "n", &["web"]);
}

proptest! {
    /// Whatever is found lets the pod fit; where only amounts count, nobody goes in vain; and the table is as it was.
    #[test]
    fn a_trial_changes_nothing_and_its_result_is_true(
        placed in proptest::collection::vec((0usize..4, 0u8..8, 0i32..5), 1..30),
        zones in proptest::array::uniform4(0u8..3),
        (sort, priority, start) in (0u8..8, 1i32..6, 0usize..4),
    ) {
        let with_priority = |name: &str, sort: u8, priority: i32| {
            let mut pod = samples::pod(name, sort, false);
            pod.spec.as_mut().expect("a specification").priority = Some(priority);
            PodInfo::new(&pod)
        };
        let mut nodes = Nodes::default();
        for (number, zone) in zones.iter().enumerate() {
            nodes.set_node(&samples::node(number, *zone));
        }
        for (number, (on, sort, priority)) in placed.iter().enumerate() {
            nodes.place(&with_priority(&format!("p{number}"), *sort, *priority), &format!("n{on}"));
        }
        let pod = with_priority("new", sort, priority);
        nodes.attend(&pod.shape);
        let sums = |nodes: &Nodes| nodes.iter().map(|n| format!("{:?} {:?} {} {}", n.requested, n.nonzero, n.pods, n.ports.len())).collect::<Vec<_>>();
        let before = (sums(&nodes), nodes.stamps().to_vec(), decide(&pod, &mut nodes, Chance::default()));
        let found = find(&pod, &mut nodes, &Nominations::default(), &Budgets::default(), start);
        prop_assert_eq!(&before, &(sums(&nodes), nodes.stamps().to_vec(), decide(&pod, &mut nodes, Chance::default())));
        let Some(preemption) = found else { return Ok(()) };
        let slot = nodes.position(&preemption.node).expect("its node");
        let uids: Vec<Arc<str>> = preemption.victims.iter().map(|victim| victim.uid.clone()).collect();
        let alone = Neighbours::of(&pod.shape, &nodes).is_silent();
        nodes.without(slot, &uids, |table| {
            assert!(suits(&pod, table.nodes, slot), "it fits without them");
            for uid in uids.iter().filter(|_| alone) {
                table.put_back(uid);
                assert!(!suits(&pod, table.nodes, slot), "{uid} goes in vain");
                table.lift(uid);
            }
        });
    }
}
