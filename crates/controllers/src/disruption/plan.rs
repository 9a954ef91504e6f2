//! The decision: a budget's figures from its pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use informer::{Action, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::scale::Scale;
use crate::replicas::pod::Replica;
use crate::scaled::scaled;
use crate::target::update_status;

/// How long a pod whose eviction was granted counts as going although nobody has deleted it.
pub(super) const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const CONDITION: &str = "DisruptionAllowed";
const UNMANAGED: &str = "As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. \
     To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";

/// A budget with its pods.
#[derive(Debug)]
pub struct Observed {
    pub(super) budget: Arc<PodDisruptionBudget>,
    /// Those it covers.
    pub(super) pods: Vec<Replica>,
    /// What the pods' owners want, where the budget goes by that, or why that is not known.
    pub(super) scale: Option<Result<Scale, String>>,
}

/// Whether a budget's number is of the pods that the owners want, not of those that are there.
pub(super) fn goes_by_scale(budget: &PodDisruptionBudget) -> bool {
    budget.spec.as_ref().is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let budget = &*observed.budget;
    if observed.pods.is_empty() {
        plan.then(event(budget, EventType::Normal, "NoPods", "No matching pods found".to_owned()));
    }
    let scale = match &observed.scale {
        Some(Err(why)) => {
            let message = format!("Failed to calculate the number of expected pods: {why}");
            plan.then(event(budget, EventType::Warning, "CalculateExpectedPodCountFailed", message));
            write(&mut plan, budget, closed(budget, why, now));
            return plan;
        }
        Some(Ok(scale)) => scale.clone(),
        None => Scale { pods: i32::try_from(observed.pods.len()).unwrap_or(i32::MAX), unmanaged: false },
    };
    if scale.unmanaged {
        plan.then(event(budget, EventType::Warning, "UnmanagedPods", unmanaged(budget)));
    }
    let going = going(observed, now, &mut plan);
    let healthy = observed
        .pods
        .iter()
        .filter(|pod| pod.facts.ready && !pod.is_being_deleted() && !going.contains_key(pod.name()));
    let current = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    let desired = desired(budget, scale.pods);
    // A budget without pods allows nothing: its first ones may be there before its status tells of them.
    let allowed = if scale.pods > 0 { (current - desired).max(0) } else { 0 };
    let mut status = PodDisruptionBudgetStatus {
        conditions: budget.status.as_ref().and_then(|status| status.conditions.clone()),
        current_healthy: Some(current),
        desired_healthy: Some(desired),
        disrupted_pods: Some(going).filter(|going| !going.is_empty()),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(scale.pods),
        observed_generation: budget.metadata.generation,
    };
    let (is_allowed, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(&mut status, is_allowed, reason, "", now);
    write(&mut plan, budget, status);
    plan
}

/// How many pods must stay healthy.
fn desired(budget: &PodDisruptionBudget, expected: i32) -> i32 {
    let Some(spec) = &budget.spec else { return 0 };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => (expected - scaled(max, expected, true)).max(0),
        (None, Some(min)) => scaled(min, expected, true),
        (None, None) => 0,
    }
}

/// The pods whose eviction was granted and that are still there, until their time is over.
fn going(observed: &Observed, now: Timestamp, plan: &mut Plan) -> BTreeMap<String, Time> {
    let budget = &*observed.budget;
    let granted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let Some(granted) = granted else { return BTreeMap::new() };
    let mut going = BTreeMap::new();
    for pod in observed.pods.iter().filter(|pod| !pod.is_being_deleted()) {
        let Some(since) = granted.get(pod.name()) else { continue };
        let left = DELETION_TIMEOUT - now.duration_since(since.0);
        if left.is_negative() {
            let (namespace, name) = (pod.namespace(), budget.metadata.name.as_deref().unwrap_or(""));
            let message = format!("Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't");
            if let Some(pod) = pod.object.typed() {
                let (about, event_type) = (client::reference(&**pod), EventType::Warning);
                plan.then(Action::Event { about, event_type, reason: "NotDeleted", message });
            }
            continue;
        }
        plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO) + Duration::from_millis(1));
        going.insert(pod.name().to_owned(), since.clone());
    }
    going
}

/// The status of a budget whose figures cannot be told: nothing may be disrupted.
fn closed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    set_condition(&mut status, "False", "SyncFailed", why, now);
    status
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    is_allowed: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let mut condition = Condition {
        type_: CONDITION.to_owned(),
        status: is_allowed.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|present| present.type_ == CONDITION) {
        Some(present) => {
            if present.status == condition.status {
                condition.last_transition_time = present.last_transition_time.clone();
            }
            *present = condition;
        }
        None => conditions.push(condition),
    }
}

fn write(plan: &mut Plan, budget: &PodDisruptionBudget, status: PodDisruptionBudgetStatus) {
    if budget.status.as_ref() != Some(&status) {
        plan.then(update_status(&PodDisruptionBudget {
            metadata: budget.metadata.clone(),
            spec: budget.spec.clone(),
            status: Some(status),
        }));
    }
}

fn unmanaged(budget: &PodDisruptionBudget) -> String {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels = selector.and_then(|selector| selector.match_labels.clone()).unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    format!(
        "Pods selected by this PodDisruptionBudget (selector: &LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{}},}}) were found to be unmanaged. {UNMANAGED}",
        labels.iter().map(|pair| pair.replacen(':', ": ", 1) + ",").collect::<String>()
    )
}

fn event(
    budget: &PodDisruptionBudget,
    event_type: EventType,
    reason: &'static str,
    message: String,
) -> Action {
    Action::Event { about: client::reference(budget), event_type, reason, message }
}
