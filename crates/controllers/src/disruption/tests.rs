//! Figures of budgets as upstream's controller counts them.

use std::sync::Arc;

use informer::{Action, Cached, Controller, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::StaleDisruptionController;
use super::plan::{DELETION_TIMEOUT, Observed, goes_by_scale, plan};
use super::scale::Scale;
use crate::replicas::pod::Replica;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn ago(duration: SignedDuration) -> String {
    (now() - duration).to_string()
}

fn budget(spec: Value, status: Value) -> Arc<PodDisruptionBudget> {
    let meta = json!({"name": "b", "namespace": "ns", "uid": "b", "generation": 3, "resourceVersion": "7"});
    serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).expect("a budget")
}

fn pod(name: &str, ready: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn replica(pod: &Value) -> Replica {
    let pod: Pod = serde_json::from_value(pod.clone()).expect("a pod");
    Replica::of(Cached::of(&pod))
}

fn decide(budget: &Arc<PodDisruptionBudget>, pods: &[Value], scale: Option<Result<Scale, String>>) -> Plan {
    assert_eq!(goes_by_scale(budget), scale.is_some());
    let pods = pods.iter().map(replica).collect();
    plan(&Observed { budget: budget.clone(), pods, scale }, now())
}

/// The status that a plan writes.
fn written(plan: &Plan) -> Value {
    plan.actions
        .iter()
        .find_map(|action| match action {
            Action::Update { target, object } => {
                assert_eq!(target.path(), "/apis/policy/v1/namespaces/ns/poddisruptionbudgets/b/status");
                assert_eq!(object.resource_version(), "7");
                object.at(&["status"]).cloned()
            }
            _ => None,
        })
        .expect("a status is written")
}

fn events(plan: &Plan) -> Vec<String> {
    let told = plan.actions.iter().filter_map(|action| match action {
        Action::Event { reason, message, .. } => Some(format!("{reason}: {message}")),
        _ => None,
    });
    told.collect()
}

/// (current, desired, expected, allowed)
fn figures(plan: &Plan) -> [i64; 4] {
    let status = written(plan);
    ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"]
        .map(|figure| status[figure].as_i64().expect("a number"))
}

fn wanted(pods: i32) -> Option<Result<Scale, String>> {
    Some(Ok(Scale { pods, unmanaged: false }))
}

#[test]
fn a_number_is_of_the_pods_there_are_and_a_percentage_of_those_wanted() {
    let pods = [pod("a", "True"), pod("b", "True"), pod("c", "False")];
    let two = budget(json!({"minAvailable": 2}), json!(null));
    assert_eq!(figures(&decide(&two, &pods, None)), [2, 2, 3, 0]);
    let one = budget(json!({"minAvailable": 1}), json!(null));
    assert_eq!(figures(&decide(&one, &pods, None)), [2, 1, 3, 1]);
    let most = budget(json!({"minAvailable": "28%"}), json!(null));
    assert_eq!(figures(&decide(&most, &pods, wanted(7))), [2, 2, 7, 0]);
    let may = budget(json!({"maxUnavailable": "30%"}), json!(null));
    assert_eq!(figures(&decide(&may, &pods, wanted(3))), [2, 2, 3, 0]);
    let all = budget(json!({"maxUnavailable": 9}), json!(null));
    assert_eq!(figures(&decide(&all, &pods, wanted(3))), [2, 0, 3, 2]);
}

#[test]
fn without_pods_nothing_may_be_disrupted() {
    let none = budget(json!({"minAvailable": 0}), json!(null));
    let plan = decide(&none, &[], None);
    assert_eq!(figures(&plan), [0, 0, 0, 0]);
    assert_eq!(events(&plan), ["NoPods: No matching pods found"]);
    let condition = &written(&plan)["conditions"][0];
    assert_eq!(condition["reason"], "InsufficientPods");
    assert_eq!(condition["status"], "False");
}

#[test]
fn what_is_told_already_is_not_written_again() {
    let budget = budget(json!({"minAvailable": 1}), json!(null));
    let pods = [pod("a", "True"), pod("b", "True")];
    let status = written(&decide(&budget, &pods, None));
    assert_eq!(status["conditions"][0]["reason"], "SufficientPods");
    assert_eq!(status["observedGeneration"], 3);
    let told = PodDisruptionBudget {
        status: Some(serde_json::from_value(status).expect("a status")),
        ..(*budget).clone()
    };
    assert_eq!(decide(&Arc::new(told), &pods, None), Plan::nothing());
}

#[test]
fn granted_evictions_count_until_their_time_is_over() {
    let (fresh, stale) =
        (ago(SignedDuration::from_secs(50)), ago(DELETION_TIMEOUT + SignedDuration::from_secs(1)));
    let granted = json!({"a": fresh, "b": stale, "gone": fresh});
    let status = json!({"disruptedPods": granted, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0});
    let budget = budget(json!({"minAvailable": 1}), status);
    let plan = decide(&budget, &[pod("a", "True"), pod("b", "True"), pod("c", "True")], None);
    assert_eq!(figures(&plan), [2, 1, 3, 1]);
    assert_eq!(written(&plan)["disruptedPods"], json!({"a": fresh}));
    assert_eq!(events(&plan), ["NotDeleted: Pod was expected by PDB ns/b to be deleted but it wasn't"]);
    assert_eq!(plan.again_after.map(|after| after.as_secs()), Some(70));
}

#[test]
fn unknown_owners_close_the_budget_and_unmanaged_pods_are_told_of() {
    let status =
        json!({"currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "disruptionsAllowed": 1});
    let budget = budget(json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "x"}}}), status);
    let plan = decide(&budget, &[pod("a", "True")], Some(Err("found no controllers for pod \"a\"".into())));
    assert_eq!(figures(&plan), [2, 1, 2, 0]);
    let condition = &written(&plan)["conditions"][0];
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (&json!("SyncFailed"), &json!("found no controllers for pod \"a\""))
    );
    assert_eq!(
        events(&plan),
        [
            "CalculateExpectedPodCountFailed: Failed to calculate the number of expected pods: found no controllers for pod \"a\""
        ]
    );
    let unmanaged = Some(Ok(Scale { pods: 0, unmanaged: true }));
    let plan = decide(&budget, &[pod("a", "True")], unmanaged);
    assert_eq!(figures(&plan), [1, 0, 0, 0]);
    assert!(events(&plan)[0].starts_with(
        "UnmanagedPods: Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{app: x,}"
    ));
}

#[test]
fn what_was_said_of_a_pod_that_stays_is_taken_back() {
    let told = |reason: &str, since: &str| -> Arc<Pod> {
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": since});
        let mut pod = pod("a", "True");
        pod["status"]["conditions"].as_array_mut().expect("a list").push(condition);
        serde_json::from_value(pod).expect("a pod")
    };
    let long_ago = ago(DELETION_TIMEOUT);
    let plan = StaleDisruptionController::reconcile(&told("EvictionByEvictionAPI", &long_ago), now());
    let [Action::StrategicPatch { patch, .. }] = &*plan.actions else { panic!("{plan:?}") };
    assert_eq!(patch["status"]["conditions"][0]["status"], "False");
    let of_the_node = told("TerminationByKubelet", &long_ago);
    assert_eq!(StaleDisruptionController::reconcile(&of_the_node, now()), Plan::nothing());
    let fresh = told("EvictionByEvictionAPI", &ago(SignedDuration::from_secs(20)));
    let plan = StaleDisruptionController::reconcile(&fresh, now());
    assert!(plan.actions.is_empty());
    assert_eq!(plan.again_after.map(|after| after.as_secs()), Some(100));
}

proptest! {
    /// Whatever is there: what may be disrupted never leaves fewer healthy pods than are demanded, and a round after
    /// the status was written writes nothing.
    #[test]
    fn a_budget_is_kept(
        ready in proptest::collection::vec(any::<bool>(), 0..12),
        going in proptest::collection::vec(0i64..300, 0..6),
        limit in prop_oneof![(0i64..15).prop_map(|n| json!(n)), (0i64..100).prop_map(|n| json!(format!("{n}%")))],
        at_least in any::<bool>(),
        scale in 0i32..20,
    ) {
        let pods: Vec<Value> = ready.iter().enumerate()
            .map(|(n, ready)| pod(&format!("p{n}"), if *ready { "True" } else { "False" })).collect();
        let granted: serde_json::Map<String, Value> = going.iter().enumerate()
            .map(|(n, s)| (format!("p{n}"), json!(ago(SignedDuration::from_secs(*s))))).collect();
        let status = json!({"disruptedPods": granted, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0});
        let key = if at_least { "minAvailable" } else { "maxUnavailable" };
        let budget = budget(json!({key: limit}), status);
        let known = goes_by_scale(&budget).then_some(Ok(Scale { pods: scale, unmanaged: false }));
        let plan = decide(&budget, &pods, known.clone());
        let status = written(&plan);
        let [current, desired, expected, allowed] = figures(&plan);
        prop_assert!(allowed == 0 || current - allowed >= desired);
        prop_assert!(allowed >= 0 && (expected > 0 || allowed == 0));
        let told = PodDisruptionBudget { status: Some(serde_json::from_value(status).unwrap()), ..(*budget).clone() };
        let again = decide(&Arc::new(told), &pods, known);
        let writes = again.actions.iter().filter(|action| matches!(action, Action::Update { .. })).count();
        prop_assert_eq!(writes, 0);
    }
}
