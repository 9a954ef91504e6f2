//! The decision about one node.

use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use informer::{Action, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::conditions;
use super::heartbeat::LastSeen;
use super::{pods, taints};
use crate::target::target_of;

/// Silence after which a node counts as lost (upstream's `--node-monitor-grace-period`).
const GRACE_S: i64 = 50;
/// The same for a node that has never reported its state (`--node-startup-grace-period`).
const STARTUP_GRACE_S: i64 = 60;

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    pub(super) node: Arc<Node>,
    pub(super) seen: LastSeen,
    /// No other node is ready: the trouble is likely this side's, and nobody is evicted.
    pub(super) all_others_down: bool,
    /// The node's pods.
    pub(super) pods: Vec<Arc<Pod>>,
}

/// The decision to make about a node.
#[derive(Debug, Clone)]
pub enum Matter {
    /// The node is unchanged since it was last found healthy, and gave a recent sign of life: only the end of its grace
    /// period is waited for.
    Well {
        left: SignedDuration,
    },
    Changed(Observed),
}

/// How much longer silence is suffered, of a node whose Ready condition says `told`.
pub(super) fn left(told: &str, seen: LastSeen, now: Timestamp) -> SignedDuration {
    let grace = SignedDuration::from_secs(if told.is_empty() { STARTUP_GRACE_S } else { GRACE_S });
    grace - now.duration_since(seen.at)
}

pub(super) fn decide(matter: &Matter, now: Timestamp) -> Plan {
    match matter {
        Matter::Well { left } => {
            let mut plan = Plan::nothing();
            plan.look_again(Duration::try_from(*left).unwrap_or(Duration::ZERO));
            plan
        }
        Matter::Changed(observed) => plan(observed, now),
    }
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let node = &*observed.node;
    let mut plan = Plan::nothing();
    let name = node.metadata.name.as_deref().unwrap_or("");
    if observed.seen.first {
        let message = format!("Node {name} event: Registered Node {name} in Controller");
        plan.then(node_event(node, "RegisteredNode", message));
    }
    let told = conditions::ready(node);
    let left = left(told, observed.seen, now);
    let mut ready = told;
    if left.is_positive() {
        plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
    } else {
        let lost = conditions::lost(node, now);
        if !lost.is_empty() {
            plan.then(Action::StrategicPatch {
                target: target_of(node).subresource("status"),
                patch: json!({"status": {"conditions": lost}}),
            });
            if told == "True" {
                plan.then(node_event(
                    node,
                    "NodeNotReady",
                    format!("Node {name} status is now: NodeNotReady"),
                ));
            }
            plan.reasons.push(format!("not heard of since {}", observed.seen.at));
        }
        ready = "Unknown";
    }
    if !matches!(ready, "True" | "") {
        let marks = pods::mark(&with_ready_since(node, told, ready, now), &observed.pods, now);
        plan.actions.extend(marks);
    }
    let evicts = !observed.all_others_down;
    if let Some(taints) = taints::changed(node, ready, evicts, now) {
        // The version counts spec and status alike; what this plan wrote itself must not be in its way.
        plan.then(Action::JsonPatch { target: target_of(node), patch: taint_patch(node, &json!(taints)) });
    }
    plan
}

/// The node after this plan's own change of its conditions, so that the order of changes is known.
fn with_ready_since(node: &Node, told: &str, ready: &str, now: Timestamp) -> Node {
    let mut node = node.clone();
    if told != ready {
        let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
        for condition in conditions.iter_mut().filter(|c| c.type_ == "Ready") {
            condition.last_transition_time = Some(Time(now));
        }
    }
    node
}

/// Replaces the taints if they are still those decided from.
fn taint_patch(node: &Node, taints: &serde_json::Value) -> serde_json::Value {
    match node.spec.as_ref().and_then(|s| s.taints.as_ref()) {
        Some(before) => json!([
            {"op": "test", "path": "/spec/taints", "value": before},
            {"op": "replace", "path": "/spec/taints", "value": taints},
        ]),
        None => json!([{"op": "add", "path": "/spec/taints", "value": taints}]),
    }
}

fn node_event(node: &Node, reason: &'static str, message: String) -> Action {
    Action::Event { about: client::reference(node), event_type: EventType::Normal, reason, message }
}
