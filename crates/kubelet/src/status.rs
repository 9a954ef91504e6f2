//! Reporting a pod's status with as little as possible: only changes are sent, and minor changes are grouped.
//!
//! [`patch`] makes the strategic merge patch, [`is_urgent`] returns whether the patch must be sent at
//! once instead of waiting for further changes. Nothing here talks to the API server.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use serde_json::{Map, Value, json};

/// The condition types this node owns, in upstream's order; others in the list belong to others and are left alone.
const OWN_CONDITIONS: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
];

/// A condition that others set too: the node adds its own, and takes none away.
const SHARED_CONDITION: &str = "DisruptionTarget";

/// The fields this node owns. Fields beside them (`nominatedNodeName`, resize states …) are left alone.
const OWN_FIELDS: [&str; 14] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "observedGeneration",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "resources",
    "allocatedResources",
];

/// Lists that a strategic merge would merge by key, so that replacing them takes a directive.
const MERGED_LISTS: [&str; 2] = ["hostIPs", "podIPs"];

/// The patch that turns what the API has into `wanted`, or `None` where nothing changes. It carries the
/// pod's uid, so that it never lands on another pod of the same name.
pub fn patch(pod: &Pod, reported: &PodStatus, wanted: &PodStatus) -> Option<Value> {
    let (Ok(Value::Object(reported_map)), Ok(Value::Object(wanted_map))) =
        (serde_json::to_value(reported), serde_json::to_value(wanted))
    else {
        return None;
    };
    let mut changes = Map::new();
    for field in OWN_FIELDS {
        match (reported_map.get(field), wanted_map.get(field)) {
            (old, new) if old == new => {}
            (_, Some(new)) => {
                changes.insert(field.to_owned(), replacement(field, new));
            }
            (_, None) => {
                changes.insert(field.to_owned(), Value::Null);
            }
        }
    }
    if reported.qos_class.is_none() && wanted.qos_class.is_some() {
        changes.insert("qosClass".to_owned(), json!(wanted.qos_class));
    }
    let conditions = changed_conditions(reported, wanted);
    if !conditions.is_empty() {
        let has_shared = conditions.iter().any(|condition| condition["type"] == SHARED_CONDITION);
        let order = OWN_CONDITIONS.into_iter().chain(has_shared.then_some(SHARED_CONDITION));
        let order: Vec<Value> = order.map(|kind| json!({ "type": kind })).collect();
        changes.insert("$setElementOrder/conditions".to_owned(), json!(order));
        changes.insert("conditions".to_owned(), Value::Array(conditions));
    }
    if changes.is_empty() {
        return None;
    }
    Some(json!({ "metadata": { "uid": pod.metadata.uid }, "status": changes }))
}

fn replacement(field: &str, new: &Value) -> Value {
    match new {
        Value::Array(items) if MERGED_LISTS.contains(&field) => {
            let mut all = vec![json!({ "$patch": "replace" })];
            all.extend(items.iter().cloned());
            Value::Array(all)
        }
        // What is no more in a map would stay.
        Value::Object(fields) => {
            let mut all = fields.clone();
            all.insert("$patch".to_owned(), json!("replace"));
            Value::Object(all)
        }
        other => other.clone(),
    }
}

/// Conditions merge by their type: only those that changed are sent, with nulls for what they lost, and a word for
/// those that are no more.
fn changed_conditions(reported: &PodStatus, wanted: &PodStatus) -> Vec<Value> {
    let old_conditions: Vec<&PodCondition> = reported.conditions.iter().flatten().collect();
    let mut changed = Vec::new();
    for new in wanted.conditions.iter().flatten() {
        if !OWN_CONDITIONS.contains(&new.type_.as_str()) && new.type_ != SHARED_CONDITION {
            continue;
        }
        let old = old_conditions.iter().find(|c| c.type_ == new.type_);
        let Ok(mut value) = serde_json::to_value(new) else { continue };
        // Compared as they are written: the API keeps times in whole seconds.
        if old.and_then(|old| serde_json::to_value(old).ok()).as_ref() == Some(&value) {
            continue;
        }
        let lost = |was: Option<&String>, is: Option<&String>| was.is_some() && is.is_none();
        if let (Some(old), Some(map)) = (old, value.as_object_mut()) {
            if lost(old.reason.as_ref(), new.reason.as_ref()) {
                map.insert("reason".to_owned(), Value::Null);
            }
            if lost(old.message.as_ref(), new.message.as_ref()) {
                map.insert("message".to_owned(), Value::Null);
            }
        }
        changed.push(value);
    }
    let kept = |kind: &str| wanted.conditions.iter().flatten().any(|c| c.type_ == kind);
    let gone = old_conditions.iter().map(|c| c.type_.as_str());
    let gone = gone.filter(|kind| OWN_CONDITIONS.contains(kind) && !kept(kind));
    changed.extend(gone.map(|kind| json!({ "type": kind, "$patch": "delete" })));
    changed
}

/// Whether a change is worth a write of its own at once: a new phase, a turn of readiness, a container that
/// ended or that waits for a reason someone should see. Progress on the way to running may wait a moment, for
/// the next change usually follows within it.
pub fn is_urgent(reported: &PodStatus, wanted: &PodStatus) -> bool {
    if reported.phase.is_some() && reported.phase != wanted.phase {
        return true;
    }
    let all = |status: &PodStatus| -> BTreeSet<(String, String)> {
        let lists = [&status.init_container_statuses, &status.container_statuses];
        let each = lists.into_iter().flatten().flatten();
        each.map(|s| (s.name.clone(), summary(s))).collect()
    };
    let ready = |status: &PodStatus| {
        status.conditions.iter().flatten().find(|c| c.type_ == "Ready").map(|c| c.status.clone())
    };
    let turned = ready(wanted).as_deref() == Some("True") || ready(reported).as_deref() == Some("True");
    (turned && ready(reported) != ready(wanted)) || has_news(&all(reported), &all(wanted))
}

fn has_news(old: &BTreeSet<(String, String)>, new: &BTreeSet<(String, String)>) -> bool {
    new.difference(old).any(|(_, state)| !matches!(state.as_str(), "ContainerCreating" | "PodInitializing"))
}

fn summary(status: &k8s_openapi::api::core::v1::ContainerStatus) -> String {
    let Some(state) = &status.state else { return String::new() };
    match (&state.waiting, &state.terminated) {
        (Some(waiting), _) => waiting.reason.clone().unwrap_or_default(),
        (None, Some(ended)) => format!("ended {}", ended.exit_code),
        (None, None) => "running".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodIP;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    fn condition(kind: &str, status: &str, reason: Option<&str>) -> PodCondition {
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            ..PodCondition::default()
        }
    }

    #[test]
    fn a_condition_that_others_set_too_is_added_and_never_taken_away() {
        let disrupted = |reason: &str| PodStatus {
            conditions: Some(vec![condition("DisruptionTarget", "True", Some(reason))]),
            ..PodStatus::default()
        };
        let pod = Pod::default();
        let patch = patch(&pod, &PodStatus::default(), &disrupted("TerminationByKubelet")).expect("a change");
        assert_eq!(patch["status"]["conditions"][0]["type"], "DisruptionTarget");
        let order = patch["status"]["$setElementOrder/conditions"].as_array().expect("an order");
        assert_eq!(order.last(), Some(&json!({"type": "DisruptionTarget"})));
        assert!(super::patch(&pod, &disrupted("EvictionByEvictionAPI"), &PodStatus::default()).is_none());
    }

    #[test]
    fn only_what_changed_and_is_ours_is_sent() {
        let pod = Pod::default();
        let old = PodStatus {
            phase: Some("Pending".into()),
            message: Some("x".into()),
            nominated_node_name: Some("n".into()),
            conditions: Some(vec![
                condition("Ready", "False", Some("ContainersNotReady")),
                condition("PodScheduled", "True", None),
                condition("example.com/gate", "True", None),
                condition("PodResizePending", "True", Some("Infeasible")),
            ]),
            ..PodStatus::default()
        };
        let new = PodStatus {
            phase: Some("Running".into()),
            pod_ips: Some(vec![PodIP { ip: "10.0.0.1".into() }]),
            allocated_resources: Some([("cpu".to_owned(), Quantity("1".to_owned()))].into()),
            conditions: Some(vec![condition("Ready", "True", None), condition("PodScheduled", "True", None)]),
            ..PodStatus::default()
        };
        let patch = patch(&pod, &old, &new).expect("something changed");
        assert_eq!(
            patch["status"],
            json!({
                "phase": "Running",
                "message": null,
                "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.1"}],
                "allocatedResources": {"$patch": "replace", "cpu": "1"},
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": null},
                    {"type": "PodResizePending", "$patch": "delete"},
                ],
                "$setElementOrder/conditions": OWN_CONDITIONS.map(|kind| json!({"type": kind})),
            })
        );
        assert!(super::patch(&pod, &new, &new).is_none());
        assert!(is_urgent(&old, &new));
    }
}
