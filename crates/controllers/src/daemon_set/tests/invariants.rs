//! Random users, nodes and interruptions against the promises of a daemon set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The nodes on which a pod is Ready and staying.
fn served(c: &Cluster) -> BTreeSet<String> {
    let healthy = |pod: &&Pod| pods::is_ready(pod) && !is_going(pod) && !pods::is_terminal(pod);
    c.pods.values().filter(healthy).map(place_of).collect()
}

/// Nodes that the set's template may be placed on: those without a taint.
fn eligible(c: &Cluster) -> BTreeSet<String> {
    let tainted =
        |node: &Node| node.spec.as_ref().and_then(|s| s.taints.as_ref()).is_some_and(|t| !t.is_empty());
    c.nodes.iter().filter(|(_, node)| !tainted(node)).map(|(name, _)| name.clone()).collect()
}

/// Checks a plan's deeds against the state it was made from.
fn check(c: &Cluster, plan: &Plan, (unavailable, surge): (usize, usize)) -> Result<(), TestCaseError> {
    let mut created = BTreeSet::new();
    let (mut voluntary, mut surging) = (0, 0);
    let served_before = served(c);
    let eligible = eligible(c);
    for deed in plan.actions.iter().flat_map(Action::writes) {
        match deed {
            Action::Create { target, object } if target.resource.resource == "pods" => {
                let made: Pod = object.typed().expect("a pod");
                let place = place_of(&made);
                prop_assert!(eligible.contains(&place), "{place} may have no pod");
                // One that has ended holds no place beside a surge.
                let holds = |pod: &&Pod| !is_going(pod) && (surge == 0 || !pods::is_terminal(pod));
                let staying = c.pods.values().filter(|pod| holds(pod) && place_of(pod) == place).count();
                prop_assert!(staying <= usize::from(surge > 0), "{place} has {staying} pods already");
                prop_assert!(created.insert(place.clone()), "two pods for {place} at once");
                surging += usize::from(served_before.contains(&place));
            }
            Action::Delete { target, .. } if target.resource.resource == "pods" => {
                let pod = &c.pods[&target.name];
                let place = place_of(pod);
                let others = c.pods.values().any(|other| {
                    other.metadata.name != pod.metadata.name && place_of(other) == place && !is_going(other)
                });
                // A pod that served its node alone, though the node is to have one.
                let alone =
                    pods::is_ready(pod) && !pods::is_terminal(pod) && !others && eligible.contains(&place);
                voluntary += usize::from(alone);
            }
            _ => {}
        }
    }
    if surge == 0 {
        let unserved = eligible.difference(&served_before).count();
        prop_assert!(
            voluntary == 0 || voluntary + unserved <= unavailable,
            "{voluntary} with {unserved} unserved"
        );
    } else {
        prop_assert_eq!(voluntary, 0);
        prop_assert!(surging <= surge);
    }
    Ok(())
}

fn disturb(c: &mut Cluster, (what, which, number): (u8, usize, u8)) {
    let name = c.pods.keys().nth(which % c.pods.len().max(1)).cloned();
    let place = format!("n{}", which % 5 + 1);
    let now = c.now;
    let pod = |c: &mut Cluster, change: &dyn Fn(&mut Pod)| {
        if let Some(pod) = name.as_ref().and_then(|name| c.pods.get_mut(name)) {
            change(pod);
        }
    };
    match what {
        0 => c.set_image(&format!("v{}", number % 3)),
        1 => drop(c.nodes.insert(place.clone(), node(&place))),
        2 => drop(c.nodes.remove(&place)),
        3 if c.nodes.contains_key(&place) => {
            let effect = if number.is_multiple_of(2) { "NoSchedule" } else { "NoExecute" };
            c.taint(&place, &[taint("a", effect)]);
        }
        4 if c.nodes.contains_key(&place) => c.taint(&place, &[]),
        5 => pod(c, &|pod| is_unready(pod, now)),
        6 => pod(c, &|pod| ends(pod, if number.is_multiple_of(2) { "Failed" } else { "Succeeded" }, now)),
        7 => drop(name.and_then(|name| c.pods.remove(&name))),
        8 => c.end(),
        _ => c.run_all(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever users and nodes do, and wherever a round is cut off, no promise is broken on the way, and in the end
    /// every eligible node has one pod of the present template.
    #[test]
    fn promises_hold_on_the_way_to_the_fixed_point(
        surging in any::<bool>(),
        size in 1i32..3,
        steps in proptest::collection::vec(((0u8..10, 0usize..8, 0u8..6), 0usize..4), 1..30),
    ) {
        let mut c = Cluster::new(4);
        let limits = if surging { (0, size) } else { (size, 0) };
        c.limits(limits.0, limits.1);
        let limits = (usize::try_from(limits.0).unwrap_or(0), usize::try_from(limits.1).unwrap_or(0));
        for (disturbance, cut) in steps {
            disturb(&mut c, disturbance);
            c.now += jiff::SignedDuration::from_millis(700);
            let made = c.plan();
            check(&c, &made, limits)?;
            // A crash, or a conflict, after some of the writes.
            let done = if cut == 0 { made.actions.len() } else { cut };
            for action in made.actions.iter().take(done) {
                c.apply(action);
            }
        }
        for _ in 0..200 {
            c.now += jiff::SignedDuration::from_mins(16);
            c.end();
            c.run_all();
            let made = c.plan();
            check(&c, &made, limits)?;
            if made.actions.is_empty() {
                break;
            }
            made.actions.iter().for_each(|action| c.apply(action));
        }
        let new = image(&Pod { spec: c.set.spec.clone().expect("a spec").template.spec, ..Pod::default() }).to_owned();
        let eligible = eligible(&c);
        let running: Vec<(String, &str)> =
            c.images().into_iter().filter(|(place, _)| eligible.contains(place)).collect();
        let wanted: Vec<(String, &str)> = eligible.iter().map(|place| (place.clone(), new.as_str())).collect();
        prop_assert_eq!(running, wanted);
        let status = c.status();
        let count = i32::try_from(eligible.len()).unwrap_or(i32::MAX);
        prop_assert_eq!(status.desired_number_scheduled, count);
        prop_assert_eq!(status.number_available.unwrap_or(0), count);
        prop_assert_eq!(status.updated_number_scheduled.unwrap_or(0), count);
        prop_assert_eq!(status.observed_generation, c.set.metadata.generation);
    }
}
