//! Pods of a node that is not ready are not ready either, whatever their last status was.

use std::sync::Arc;

use client::EventType;
use informer::Action;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::replicas::pod;
use crate::target::target_of;

/// The writes that mark pods NotReady. Pods that became ready after the node's condition last changed
/// are left alone: their node agent is alive and reports their state.
pub(super) fn mark(node: &Node, pods: &[Arc<Pod>], now: Timestamp) -> Vec<Action> {
    let since = super::conditions::find(node, "Ready").and_then(|c| c.last_transition_time.as_ref());
    let mut actions = Vec::new();
    for ready in pods.iter().filter(|p| pod::is_ready(p)) {
        if let (Some(pod_since), Some(node_since)) = (pod::ready_since(ready), since)
            && pod_since > node_since.0
        {
            continue;
        }
        let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": Time(now)});
        actions.push(Action::Event {
            about: client::reference(&**ready),
            event_type: EventType::Warning,
            reason: "NodeNotReady",
            message: "Node is not ready".to_owned(),
        });
        actions.push(Action::StrategicPatch {
            target: target_of(&**ready).subresource("status"),
            patch: json!({"metadata": {"uid": ready.metadata.uid}, "status": {"conditions": [condition]}}),
        });
    }
    actions
}
