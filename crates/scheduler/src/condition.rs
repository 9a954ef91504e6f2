//! The condition that reports why a pod has no node. Pure.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const SCHEDULED: &str = "PodScheduled";

/// The condition to write, or `None` if the pod has the condition already, so that no needless write is made.
pub(crate) fn unschedulable(pod: &Pod, message: &str, now: jiff::Timestamp) -> Option<PodCondition> {
    let told = pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == SCHEDULED);
    let told = told.filter(|c| c.status == "False");
    let reason = "Unschedulable";
    if told.is_some_and(|c| c.message.as_deref() == Some(message) && c.reason.as_deref() == Some(reason)) {
        return None;
    }
    Some(PodCondition {
        type_: SCHEDULED.to_owned(),
        status: "False".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        observed_generation: pod.metadata.generation,
        // It did not become schedulable in between: the time of the transition stays.
        last_transition_time: told.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
        ..PodCondition::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(conditions: Value) -> Option<Value> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"generation": 3}, "status": {"conditions": conditions},
        }))
        .expect("a pod");
        let condition = unschedulable(&pod, "no", jiff::Timestamp::UNIX_EPOCH)?;
        Some(serde_json::to_value(condition).expect("a condition"))
    }

    #[test]
    fn says_when_and_of_what_generation() {
        let expected = |since: &str| {
            Some(json!({
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no",
                "observedGeneration": 3, "lastTransitionTime": since,
            }))
        };
        assert_eq!(told(json!([])), expected("1970-01-01T00:00:00Z"));
        let mut before = json!([{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "other",
            "lastTransitionTime": "1969-01-01T00:00:00Z",
        }]);
        assert_eq!(told(before.clone()), expected("1969-01-01T00:00:00Z"));
        before[0]["message"] = "no".into();
        assert_eq!(told(before), None, "it says so already");
        let gated = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "no"}]);
        assert_eq!(told(gated), expected("1970-01-01T00:00:00Z"), "a gated pod's condition has no time yet");
    }
}
