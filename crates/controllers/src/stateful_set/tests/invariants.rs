//! Random users, nodes and interruptions against the promises of a stateful set.

use proptest::prelude::*;

use super::*;

/// Whether a pod is Running, Ready and staying.
fn is_healthy(pod: &Pod) -> bool {
    pods::is_ready(pod)
        && pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
}

fn ordinal_of(c: &Cluster, name: &str) -> i32 {
    names::ordinal(&c.set, name).expect("a pod of the set")
}

/// Checks a plan's deeds against the state it was made from.
fn check(c: &Cluster, actions: &[Action]) -> Result<(), TestCaseError> {
    let spec = c.set.spec.clone().unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    let partition =
        spec.update_strategy.clone().and_then(|s| s.rolling_update).and_then(|r| r.partition).unwrap_or(0);
    let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
    let deeds: Vec<&Action> = actions.iter().flat_map(Action::writes).collect();
    let healthy = |ordinal: i32| c.pods.get(&format!("web-{ordinal}")).is_some_and(is_healthy);
    let present = Pod { spec: spec.template.spec.clone(), ..Pod::default() };
    let mut moved = 0;
    for deed in deeds {
        match deed {
            Action::Create { target, object } if target.resource.resource == "pods" => {
                moved += 1;
                let ordinal = ordinal_of(c, object.name());
                prop_assert!(ordinal < wanted, "a pod that nobody wants: {ordinal} of {wanted}");
                prop_assert!(!c.pods.contains_key(object.name()), "two pods of one identity");
                if ordered {
                    prop_assert!(
                        (0..ordinal).all(healthy),
                        "{ordinal} is made before its predecessors are ready"
                    );
                }
            }
            Action::Delete { target, .. } if target.resource.resource == "pods" => {
                moved += 1;
                let ordinal = ordinal_of(c, &target.name);
                let pod = &c.pods[&target.name];
                if ordinal < wanted && !pods::is_terminal(pod) {
                    // An update: never below the partition, one at a time, from the top.
                    prop_assert!(ordinal >= partition, "{ordinal} is below the partition {partition}");
                    let others = (ordinal + 1)..wanted;
                    prop_assert!(others.into_iter().all(healthy), "{ordinal} is updated while others wait");
                    prop_assert_ne!(image(pod), image(&present));
                } else if ordinal >= wanted && ordered {
                    let higher = c.pods.keys().any(|name| ordinal_of(c, name) > ordinal);
                    prop_assert!(!higher, "{ordinal} goes before those after it are gone");
                }
            }
            _ => {}
        }
    }
    prop_assert!(!ordered || moved <= 1, "one pod at a time");
    Ok(())
}

fn disturb(c: &mut Cluster, (what, which, number): (u8, usize, i32)) {
    let name = c.pods.keys().nth(which % c.pods.len().max(1)).cloned();
    let now = c.now;
    match (what, name) {
        (0, _) => c.scale(number),
        (1, _) => c.set_image(&format!("v{number}")),
        (2, _) => c.set_partition(number % 4),
        (3, Some(name)) => run(c.pods.get_mut(&name).expect("listed"), now),
        (4, Some(name)) => is_unready(c.pods.get_mut(&name).expect("listed"), now),
        (5, Some(name)) => fails(c.pods.get_mut(&name).expect("listed"), now),
        (6, Some(name)) => drop(c.pods.remove(&name)),
        (7, Some(name)) => {
            c.pods.get_mut(&name).expect("listed").metadata.deletion_timestamp = Some(Time(now));
        }
        (8, _) => c.end(),
        _ => c.run_all(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever users and nodes do, and wherever a round is cut off, no promise is broken on the way, and in the end
    /// the wanted pods are there, of the revisions they should be of.
    #[test]
    fn promises_hold_on_the_way_to_the_fixed_point(
        parallel in any::<bool>(),
        claims in any::<bool>(),
        steps in proptest::collection::vec(((0u8..10, 0usize..8, 0i32..6), 0usize..5), 1..40),
    ) {
        let mut c = if claims { Cluster::with_claims(3, "Delete", "Delete") } else { Cluster::new(3) };
        if parallel {
            c.spec().pod_management_policy = Some("Parallel".into());
        }
        for (disturbance, cut) in steps {
            disturb(&mut c, disturbance);
            let made = plan(&c.observe(), c.now);
            check(&c, &made.actions)?;
            // A crash, or a conflict, after some of the writes.
            let done = if cut == 0 { made.actions.len() } else { cut };
            for action in made.actions.iter().take(done) {
                c.apply(action);
            }
        }
        for _ in 0..300 {
            c.end();
            c.run_all();
            let made = plan(&c.observe(), c.now);
            check(&c, &made.actions)?;
            if made.actions.is_empty() {
                break;
            }
            made.actions.iter().for_each(|action| c.apply(action));
        }
        let spec = c.set.spec.clone().expect("a spec");
        let wanted = spec.replicas.expect("set");
        let status = c.status();
        prop_assert_eq!(c.images().iter().map(|(ordinal, _)| *ordinal).collect::<Vec<_>>(), (0..wanted).collect::<Vec<_>>());
        prop_assert_eq!((status.replicas, status.ready_replicas.unwrap_or(0)), (wanted, wanted));
        prop_assert_eq!(status.observed_generation, c.set.metadata.generation);
        let partition = spec.update_strategy.and_then(|s| s.rolling_update).and_then(|r| r.partition).unwrap_or(0);
        let new = image(&Pod { spec: spec.template.spec, ..Pod::default() }).to_owned();
        for (ordinal, image) in c.images() {
            prop_assert!(ordinal < partition || image == new, "{} runs {}", ordinal, image);
        }
        if claims {
            let mut held = (0..wanted).map(|ordinal| format!("www-web-{ordinal}"));
            prop_assert!(held.all(|claim| c.claims.contains_key(&claim)));
            // A claim beyond them is one whose pod was never made: it goes with the set.
            for claim in c.claims.values() {
                let owners = claim.metadata.owner_references.as_deref().unwrap_or(&[]);
                prop_assert!(owners.len() == 1 && owners[0].uid == "set", "{owners:?}");
            }
        }
    }
}
