//! Nodes that stop reporting: their conditions become Unknown, and their taints always say what their
//! conditions are. Upstream: `pkg/controller/nodelifecycle`.
//!
//! Start with [`NodeLifecycleController`]. Deleting the pods of a tainted node is another controller's work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use informer::controller::Round;
use informer::{Action, Cache, Controller, Delta, Key, Plan, Sources};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::target::target_of;

/// Upstream's `node-monitor-grace-period`: so long a node may be silent.
const GRACE: SignedDuration = SignedDuration::from_secs(50);
const LEASE_NAMESPACE: &str = "kube-node-lease";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that mean trouble when true, with their taints.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// Conditions that become Unknown when a node is silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// See the module's documentation. Keys are nodes.
pub struct NodeLifecycleController {
    nodes: Cache<Node>,
    leases: Cache<Lease>,
}

/// A node and when it last renewed its lease.
pub struct Observed {
    node: Arc<Node>,
    renewed: Option<Timestamp>,
}

impl Controller for NodeLifecycleController {
    const NAME: &'static str = "node-controller";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let leases = sources.mapped(|delta: &Delta<Lease>| {
            let lease = Key::of(&**delta.object());
            if &*lease.namespace == LEASE_NAMESPACE { vec![Key::new("", &lease.name)] } else { Vec::new() }
        });
        Self { nodes: sources.primary(), leases }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(node) = self.nodes.get_key(round.key) else { return Ok(None) };
        let lease = self.leases.get(LEASE_NAMESPACE, &round.key.name);
        let renewed = lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref().map(|t| t.0));
        Ok(Some(Observed { node, renewed }))
    }

    fn reconcile(observed: &Observed, now: Timestamp) -> Plan {
        let node = &*observed.node;
        let mut plan = Plan::nothing();
        let silent_at = last_heard(observed) + GRACE;
        let silent = silent_at <= now;
        if silent {
            declare_unknown(node, now, &mut plan);
        } else {
            let left = silent_at.duration_since(now).unsigned_abs();
            plan.look_again(left + Duration::from_millis(1));
        }
        set_taints(node, silent, now, &mut plan);
        plan
    }
}

/// The latest sign of life: the lease, the Ready condition's heartbeat, or being made.
fn last_heard(observed: &Observed) -> Timestamp {
    let heartbeat =
        condition(&observed.node, "Ready").and_then(|c| c.last_heartbeat_time.as_ref().map(|t| t.0));
    let made = observed.node.metadata.creation_timestamp.as_ref().map(|t| t.0);
    [observed.renewed, heartbeat, made].into_iter().flatten().max().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn condition<'n>(node: &'n Node, name: &str) -> Option<&'n NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == name)
}

fn declare_unknown(node: &Node, now: Timestamp, plan: &mut Plan) {
    let changed: Vec<NodeCondition> = REPORTED
        .iter()
        .filter_map(|name| {
            let known = condition(node, name);
            if known.is_some_and(|c| c.status == "Unknown") {
                return None;
            }
            let (reason, message) = if known.is_some() {
                ("NodeStatusUnknown", "Kubelet stopped posting node status.")
            } else {
                ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
            };
            Some(NodeCondition {
                type_: (*name).to_owned(),
                status: "Unknown".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_heartbeat_time: known.and_then(|c| c.last_heartbeat_time.clone()),
                last_transition_time: Some(Time(now)),
            })
        })
        .collect();
    if changed.is_empty() {
        return;
    }
    let name = node.metadata.name.as_deref().unwrap_or("");
    if condition(node, "Ready").is_some_and(|c| c.status == "True") {
        plan.then(Action::Event {
            about: client::reference(node),
            event_type: EventType::Normal,
            reason: "NodeNotReady",
            message: format!("Node {name} status is now: NodeNotReady"),
        });
    }
    plan.then(Action::StrategicPatch {
        target: target_of(node).subresource("status"),
        patch: json!({"status": {"conditions": changed}}),
    });
    plan.reasons.push(format!("node {name} is silent"));
}

/// Brings the taints that stand for conditions in line; other taints are not touched.
fn set_taints(node: &Node, silent: bool, now: Timestamp, plan: &mut Plan) {
    let present = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let wanted = wanted_taints(node, silent);
    let ours = |taint: &Taint| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
            || PRESSURES.iter().any(|(_, key)| *key == taint.key)
    };
    let held: BTreeSet<(&str, &str)> =
        present.iter().filter(|t| ours(t)).map(|t| (t.key.as_str(), t.effect.as_str())).collect();
    if held == wanted {
        return;
    }
    let mut taints: Vec<Taint> = present
        .iter()
        .filter(|t| !ours(t) || wanted.contains(&(t.key.as_str(), t.effect.as_str())))
        .cloned()
        .collect();
    for (key, effect) in wanted.difference(&held) {
        taints.push(Taint {
            key: (*key).to_owned(),
            effect: (*effect).to_owned(),
            value: None,
            // Eviction counts from here.
            time_added: (*effect == "NoExecute").then_some(Time(now)),
        });
    }
    // The list replaces the old one whole; a node changed meanwhile makes the patch fail and the round start anew.
    plan.then(Action::MergePatch {
        target: target_of(node),
        patch: json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        }),
    });
    plan.reasons.push("the taints do not say what the conditions say".to_owned());
}

fn wanted_taints(node: &Node, silent: bool) -> BTreeSet<(&'static str, &'static str)> {
    let mut wanted = BTreeSet::new();
    let status = if silent { Some("Unknown") } else { condition(node, "Ready").map(|c| c.status.as_str()) };
    match status {
        Some("True") => {}
        Some("Unknown") => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        _ => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    }
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        wanted.insert((UNSCHEDULABLE, "NoSchedule"));
    }
    for (name, key) in PRESSURES {
        if condition(node, name).is_some_and(|c| c.status == "True") {
            wanted.insert((key, "NoSchedule"));
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(ready: &str, taints: serde_json::Value, renewed: &str) -> Observed {
        let node = serde_json::from_value(json!({
            "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .expect("a node");
        Observed { node: Arc::new(node), renewed: Some(renewed.parse().expect("a time")) }
    }

    fn run(observed: &Observed) -> (Vec<String>, Option<u64>) {
        let now = "2026-01-01T01:00:00Z".parse().expect("a time");
        let plan = NodeLifecycleController::reconcile(observed, now);
        let told = plan
            .actions
            .iter()
            .map(|action| match action {
                Action::MergePatch { patch, .. } => patch["spec"]["taints"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|t| {
                        format!("{}:{} ", t["key"].as_str().unwrap_or(""), t["effect"].as_str().unwrap_or(""))
                    })
                    .collect(),
                Action::StrategicPatch { patch, .. } => {
                    format!("{} Unknown", patch["status"]["conditions"].as_array().map_or(0, Vec::len))
                }
                Action::Event { reason, .. } => (*reason).to_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        (told, plan.again_after.map(|after| after.as_secs()))
    }

    #[test]
    fn a_ready_node_loses_the_taint_it_was_made_with() {
        let taints =
            json!([{"key": NOT_READY, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]);
        let (told, again) = run(&observed("True", taints, "2026-01-01T00:59:50Z"));
        assert_eq!(told, ["mine:NoSchedule "]);
        assert_eq!(again, Some(40));
    }

    #[test]
    fn a_silent_node_becomes_unknown_and_unreachable() {
        let (told, again) = run(&observed("True", json!([]), "2026-01-01T00:59:10Z"));
        assert_eq!(
            told,
            [
                "NodeNotReady",
                "4 Unknown",
                "node.kubernetes.io/unreachable:NoExecute node.kubernetes.io/unreachable:NoSchedule "
            ]
        );
        assert_eq!(again, None);
    }

    #[test]
    fn nothing_is_written_when_all_is_said() {
        assert!(run(&observed("True", json!([]), "2026-01-01T00:59:59Z")).0.is_empty());
    }
}
