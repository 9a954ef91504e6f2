//! Whatever happens in whatever order, a status never goes back: counts of restarts grow, a pod that ran is not pending
//! again, a final phase stays and comes after the last process.

use k8s_openapi::api::core::v1::PodStatus;
use proptest::prelude::*;
use serde_json::json;

use super::simulation::Simulation;
use crate::planner::{ProbeKind, Verdict};

#[derive(Debug, Clone)]
enum Op {
    /// Begins one of the actions that the plan asks for.
    Begin(usize),
    /// The process of a start under way runs, and nobody has been told that the start is done.
    Half(usize),
    /// One of the actions under way ends, well or not.
    Finish(usize, bool),
    Exit(&'static str, i32),
    Advance(i64),
    Probe(&'static str, ProbeKind, Verdict),
    RestartAgent,
    Delete,
}

fn op() -> impl Strategy<Value = Op> {
    let name = || prop_oneof![Just("proxy"), Just("init"), Just("app"), Just("other")];
    let kind = prop_oneof![Just(ProbeKind::Startup), Just(ProbeKind::Liveness), Just(ProbeKind::Readiness)];
    let verdict = prop_oneof![3 => Just(Verdict::Success), 1 => Just(Verdict::Failure)];
    prop_oneof![
        20 => (0..4usize).prop_map(Op::Begin),
        10 => (0..4usize).prop_map(Op::Half),
        20 => ((0..4usize), prop::bool::weighted(0.8)).prop_map(|(n, well)| Op::Finish(n, well)),
        6 => (name(), prop_oneof![Just(0), Just(1)]).prop_map(|(name, code)| Op::Exit(name, code)),
        6 => prop_oneof![Just(1i64), Just(12), Just(400)].prop_map(Op::Advance),
        6 => (name(), kind, verdict).prop_map(|(name, kind, verdict)| Op::Probe(name, kind, verdict)),
        1 => Just(Op::RestartAgent),
        1 => Just(Op::Delete),
    ]
}

fn spec(restart_policy: &str) -> serde_json::Value {
    let probe = json!({"tcpSocket": {"port": 80}});
    json!({
        "restartPolicy": restart_policy,
        "initContainers": [
            {"name": "proxy", "image": "a:1", "restartPolicy": "Always", "startupProbe": probe},
            {"name": "init", "image": "a:1"}
        ],
        "containers": [
            {"name": "app", "image": "a:1", "readinessProbe": probe, "livenessProbe": probe,
                "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}},
            {"name": "other", "image": "a:1"}
        ]
    })
}

fn is_final(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"))
}

fn check(before: &PodStatus, after: &PodStatus, runs: bool) -> Result<(), TestCaseError> {
    prop_assert!(!(is_final(before) && before.phase != after.phase), "a final phase stays");
    prop_assert!(is_final(before) || !is_final(after) || !runs, "final while something runs");
    prop_assert!(
        before.phase.as_deref() != Some("Running") || after.phase.as_deref() != Some("Pending"),
        "it ran, and is pending again"
    );
    let lists = |status: &PodStatus| {
        let lists = [status.init_container_statuses.clone(), status.container_statuses.clone()];
        lists.into_iter().flatten().flatten().collect::<Vec<_>>()
    };
    let afterwards = lists(after);
    for was in lists(before) {
        let Some(is) = afterwards.iter().find(|is| is.name == was.name) else {
            prop_assert!(false, "{} is not told of any more", was.name);
            continue;
        };
        prop_assert!(is.restart_count >= was.restart_count, "{} has restarted less often", was.name);
        let runs = |s: &k8s_openapi::api::core::v1::ContainerStatus| {
            s.state.as_ref().is_some_and(|state| state.running.is_some())
        };
        let waits = is.state.as_ref().is_some_and(|state| state.waiting.is_some());
        prop_assert!(
            !(runs(&was)
                && waits
                && is.restart_count == was.restart_count
                && is.container_id == was.container_id)
                || is.last_state.as_ref().is_some_and(|last| last.terminated.is_some()),
            "{} ran, and has not started yet",
            was.name
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_status_never_goes_back(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        ops in prop::collection::vec(op(), 1..160),
    ) {
        let mut sim = Simulation::new(spec(policy));
        sim.plan_only("created");
        for op in ops {
            let before = sim.status();
            match &op {
                Op::Begin(n) => sim.begin(*n),
                Op::Half(n) => sim.half(*n),
                Op::Finish(n, well) => sim.finish(*n, *well),
                Op::Exit(name, code) => sim.exit_if_running(name, *code),
                Op::Advance(seconds) => sim.advance(*seconds),
                Op::Probe(name, kind, verdict) => sim.verdict_if_running(name, *kind, *verdict),
                Op::RestartAgent => sim.restart_idle_agent(),
                Op::Delete => sim.delete(30),
            }
            sim.plan_only(&format!("{op:?}"));
            let (after, runs) = (sim.status(), sim.anything_runs());
            if let Err(error) = check(&before, &after, runs) {
                return Err(TestCaseError::fail(format!("{error}\n{}", sim.transcript())));
            }
        }
    }
}
