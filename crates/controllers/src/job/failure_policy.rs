//! What a Job's `podFailurePolicy` says of a failed pod (`pkg/controller/job/pod_failure_policy.go`).

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The failure counts towards the back-off limit.
    Count,
    Ignore,
    FailIndex,
    /// With what to tell the user.
    FailJob(String),
}

/// The action of the first rule that applies.
pub(super) fn judge(policy: &PodFailurePolicy, pod: &Pod) -> Verdict {
    let Some(status) = &pod.status else { return Verdict::Count };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
    let name = pod.metadata.name.as_deref().unwrap_or("");
    for (at, rule) in policy.rules.iter().enumerate() {
        let action = &*rule.action;
        let why = if let Some(codes) = &rule.on_exit_codes {
            container(status, codes).map(|(container, code)| {
                format!(
                    "Container {container} for pod {namespace}/{name} failed with exit code {code} matching {action} rule at index {at}"
                )
            })
        } else {
            let found = rule.on_pod_conditions.as_deref().and_then(|patterns| condition(status, patterns));
            found.map(|condition| {
                let type_ = &condition.type_;
                format!("Pod {namespace}/{name} has condition {type_} matching {action} rule at index {at}")
            })
        };
        let Some(why) = why else { continue };
        match action {
            "Ignore" => return Verdict::Ignore,
            "FailIndex" => return Verdict::FailIndex,
            "Count" => return Verdict::Count,
            "FailJob" => return Verdict::FailJob(why),
            _ => {}
        }
    }
    Verdict::Count
}

/// The first container that ended with a code the rule is about.
fn container<'p>(
    status: &'p PodStatus,
    rule: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<(&'p str, i32)> {
    let about = |one: &'p ContainerStatus| {
        let code = one.state.as_ref()?.terminated.as_ref()?.exit_code;
        let named = rule.container_name.as_deref().is_none_or(|name| name == one.name);
        let fits = match &*rule.operator {
            "In" => rule.values.contains(&code),
            "NotIn" => !rule.values.contains(&code),
            _ => false,
        };
        (named && code != 0 && fits).then_some((&*one.name, code))
    };
    let containers = [&status.container_statuses, &status.init_container_statuses];
    containers.into_iter().flatten().flatten().find_map(about)
}

fn condition<'p>(
    status: &'p PodStatus,
    patterns: &[PodFailurePolicyOnPodConditionsPattern],
) -> Option<&'p PodCondition> {
    let fits = |condition: &&PodCondition| {
        patterns.iter().any(|pattern| {
            let wanted = pattern.status.as_deref().unwrap_or("True");
            pattern.type_ == condition.type_ && wanted == condition.status
        })
    };
    status.conditions.as_ref()?.iter().find(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(rules: Value, status: Value) -> Verdict {
        let policy = serde_json::from_value(json!({"rules": rules})).expect("a policy");
        let pod = json!({"metadata": {"namespace": "ns", "name": "p"}, "status": status});
        judge(&policy, &serde_json::from_value(pod).expect("a pod"))
    }

    fn ended(name: &str, code: i32) -> Value {
        json!({"name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": code}}})
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        let rules = json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
        ]);
        let by_codes =
            |name: &str, code: i32| judged(rules.clone(), json!({"containerStatuses": [ended(name, code)]}));
        let message = "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 1";
        assert_eq!(by_codes("main", 42), Verdict::FailJob(message.into()));
        assert_eq!(by_codes("other", 42), Verdict::FailIndex);
        assert_eq!(by_codes("main", 1), Verdict::Count);
        assert_eq!(by_codes("main", 0), Verdict::Count, "a success is no failure, whatever NotIn leaves out");
        let disrupted = json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}],
            "containerStatuses": [ended("main", 42)]});
        assert_eq!(judged(rules.clone(), disrupted), Verdict::Ignore);
        let init = json!({"initContainerStatuses": [ended("main", 42)]});
        assert_eq!(judged(rules, init), Verdict::FailJob(message.into()));
    }

    #[test]
    fn a_condition_can_fail_the_job() {
        let rules =
            json!([{"action": "FailJob", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]}]);
        let status = json!({"conditions": [{"type": "ConfigIssue", "status": "True"}]});
        let message = "Pod ns/p has condition ConfigIssue matching FailJob rule at index 0";
        assert_eq!(judged(rules, status), Verdict::FailJob(message.into()));
    }
}
