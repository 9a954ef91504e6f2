//! What holds whatever users, nodes and crashes do.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::cluster::{Cluster, is_ours, replica};
use crate::replicas::pod::Phase;

/// The pods that ended while the Job tracked them: what its counters must come to.
#[derive(Default)]
struct Ends {
    succeeded: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// Being deleted, which counts as a failure unless the pod succeeds before that is told.
    going: BTreeSet<String>,
}

impl Ends {
    fn note(&mut self, c: &Cluster, replaces_only_failed: bool) {
        let told = c.status().uncounted_terminated_pods.and_then(|pods| pods.failed).unwrap_or_default();
        for pod in c.pods.values().filter(|pod| is_ours(pod)) {
            let uid = pod.metadata.uid.clone().expect("a uid");
            let seen = replica(pod);
            if !super::super::pod::is_tracked(&seen) || self.failed.contains(&uid) {
                continue;
            }
            let ends = match seen.facts.phase {
                _ if told.contains(&uid) => &mut self.failed,
                Phase::Succeeded => &mut self.succeeded,
                Phase::Failed => &mut self.failed,
                _ if seen.is_being_deleted() && !replaces_only_failed => {
                    self.going.insert(uid);
                    continue;
                }
                _ => continue,
            };
            self.going.remove(&uid);
            ends.insert(uid);
        }
    }

    fn failures(&self) -> usize {
        self.failed.union(&self.going).count()
    }
}

fn kinds() -> impl Strategy<Value = Value> {
    let replacement = prop_oneof![Just("Failed"), Just("TerminatingOrFailed")];
    (1i32..5, 1i32..4, 0u8..4, replacement, 0i32..4).prop_map(
        |(completions, parallelism, kind, replaces, limit)| {
            let mut spec =
                json!({"parallelism": parallelism, "podReplacementPolicy": replaces, "backoffLimit": limit});
            if kind > 0 {
                spec["completions"] = completions.into();
            }
            if kind > 1 {
                spec["completionMode"] = "Indexed".into();
            }
            if kind > 2 {
                spec["backoffLimitPerIndex"] = (limit / 2).into();
                spec["backoffLimit"] = i32::MAX.into();
            }
            spec
        },
    )
}

fn step(c: &mut Cluster, ends: &mut Ends, what: u8, which: usize, size: i32) {
    let only_failed = c.spec().pod_replacement_policy.as_deref() == Some("Failed");
    let indexed = c.spec().completion_mode.as_deref() == Some("Indexed");
    let live = |pod: &&Pod| !replica(pod).facts.is_terminal();
    let name = c.pods.values().filter(live).nth(which).and_then(|pod| pod.metadata.name.clone());
    match (what, name) {
        (0, Some(name)) => c.phase(&name, "Running"),
        (1 | 2, Some(name)) => c.phase(&name, "Succeeded"),
        (3, Some(name)) => c.phase(&name, "Failed"),
        (4, Some(name)) => c.delete(&name),
        (5, _) => c.spec().parallelism = Some(size),
        (6, _) => c.spec().suspend = Some(size % 2 == 0),
        (7, _) => c.pass(i64::from(size) * 20),
        (8, _) => c.restart(),
        (9, _) if indexed && size > 0 => {
            c.spec().parallelism = Some(size);
            c.spec().completions = Some(size);
        }
        _ => {}
    }
    ends.note(c, only_failed);
}

/// Carries on without further mishaps until the Job is over.
fn carry_on(c: &mut Cluster, ends: &mut Ends) {
    let only_failed = c.spec().pod_replacement_policy.as_deref() == Some("Failed");
    c.spec().suspend = Some(false);
    c.spec().parallelism = Some(c.spec().parallelism.unwrap_or(0).max(1));
    for _ in 0..60 {
        c.settle();
        if c.is_over() {
            return;
        }
        c.pass(600);
        c.settle();
        for (name, pod) in c.pods.clone() {
            let seen = replica(&pod);
            if !seen.facts.is_terminal() {
                c.phase(&name, if seen.is_being_deleted() { "Failed" } else { "Succeeded" });
            }
        }
        ends.note(c, only_failed);
    }
    panic!("the job does not end:\n{}\n{:?}", c.log, c.status());
}

fn check(c: &Cluster) -> Result<(), TestCaseError> {
    let active = c.active();
    let spec = c.job.spec.as_ref().expect("a job");
    if spec.completion_mode.as_deref() == Some("Indexed") {
        let indexes: BTreeSet<Option<u32>> = active.iter().map(|name| c.index(name)).collect();
        prop_assert_eq!(indexes.len(), active.len(), "no two pods of one index: {}", c.log);
    }
    if c.is_over() {
        prop_assert!(active.is_empty() && c.tracked() == 0, "{}", c.log);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever happens and wherever the controller dies: no success is lost or counted twice, no failure is counted
    /// twice, there are never more active pods than allowed, and the Job comes to its end with no pod held back.
    #[test]
    fn ends_are_counted_once_wherever_the_controller_dies(
        spec in kinds(),
        steps in proptest::collection::vec((0u8..10, 0usize..4, 0i32..5, proptest::option::of(0usize..6)), 1..25),
    ) {
        let mut c = Cluster::new(spec);
        let mut ends = Ends::default();
        let only_failed = c.spec().pod_replacement_policy.as_deref() == Some("Failed");
        let elastic = steps.iter().any(|(what, ..)| *what == 9);
        for (what, which, size, dies) in steps {
            step(&mut c, &mut ends, what, which, size);
            let most = c.active().len().max(usize::try_from(c.spec().parallelism.unwrap_or(1)).unwrap_or(0));
            c.writes_left = dies;
            c.round();
            prop_assert!(c.active().len() <= most, "too many pods: {}", c.log);
            ends.note(&c, only_failed);
            if dies.is_some() {
                c.say("# the controller is killed");
                c.restart();
            }
            check(&c)?;
        }
        carry_on(&mut c, &mut ends);
        check(&c)?;
        let status = c.status();
        let indexed = c.spec().completion_mode.as_deref() == Some("Indexed");
        if !indexed {
            prop_assert_eq!(status.succeeded.unwrap_or(0) as usize, ends.succeeded.len(), "{}", c.log);
        }
        let complete = status.conditions.iter().flatten().any(|condition| condition.type_ == "Complete");
        if complete && !elastic {
            if let (true, Some(wanted)) = (indexed, c.spec().completions) {
                prop_assert_eq!(status.succeeded, Some(wanted), "{}", c.log);
            }
            prop_assert_eq!(status.failed.unwrap_or(0) as usize, ends.failures(), "{}", c.log);
        }
        let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
        prop_assert_eq!((uncounted.succeeded, uncounted.failed), (None, None));
    }
}
