//! Collects the rules of aggregated cluster roles: a role with an `aggregationRule` receives the rules of
//! every role whose labels the rule selects (as `view`, `edit` and `admin` do).
//!
//! One key stands for all roles: a change of one role may concern any other, and there are few roles. A role
//! that aggregates aggregated roles is updated after those roles have changed.

use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cache, Controller, Delta, Key, Plan, Round, Sources};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use crate::target::update;

/// The key of all roles.
const ALL: &str = "all";

/// See the module's documentation.
pub struct ClusterRoleAggregationController {
    roles: Cache<ClusterRole>,
}

impl Controller for ClusterRoleAggregationController {
    const NAME: &'static str = "clusterrole-aggregation-controller";
    const QUEUE: &'static str = "ClusterRoleAggregator";
    const WORKERS: usize = 1;
    type Config = ();
    /// All cluster roles.
    type Observed = Vec<Arc<ClusterRole>>;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        Self { roles: sources.mapped(|_: &Delta<ClusterRole>| vec![Key::new("", ALL)]) }
    }

    async fn observe(&self, _: &Round<'_>) -> Result<Option<Self::Observed>, kube::Error> {
        let roles = self.roles.scan("a change of any role may concern each, and there are few");
        Ok(Some(roles.iter().filter_map(|role| role.typed().cloned()).collect()))
    }

    fn reconcile(roles: &Self::Observed, _: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        for role in roles {
            let Some(rules) = gathered(role, roles) else { continue };
            if role.rules.as_deref().unwrap_or(&[]) != rules {
                plan.then(update(&ClusterRole { rules: Some(rules), ..ClusterRole::clone(role) }));
                plan = plan.because("roles it is made of differ");
            }
        }
        plan
    }
}

/// The rules of all roles that `role` selects, without duplicates; `None` if `role` aggregates no others.
fn gathered(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref()?;
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        // What cannot be read selects nothing: validation has refused it, or it is of a newer kind.
        let selector = serde_json::to_value(selector).ok();
        let Some(selector) = selector.and_then(|value| LabelSelector::from_object(&value).ok()) else {
            continue;
        };
        for other in all.iter().filter(|other| other.metadata.name != role.metadata.name) {
            let labels = other.metadata.labels.as_ref();
            if !selector.matches(|key| labels.and_then(|labels| labels.get(key)).map(String::as_str)) {
                continue;
            }
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use informer::Action;
    use serde_json::{Value, json};

    use super::*;

    fn role(name: &str, label: &str, from: &str, resources: &[&str]) -> Arc<ClusterRole> {
        let rules: Vec<Value> = resources
            .iter()
            .map(|resource| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]}))
            .collect();
        let mut value = json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": rules});
        if !from.is_empty() {
            value["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {from: "true"}}]});
        }
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn written(roles: Vec<Arc<ClusterRole>>) -> Vec<(String, Vec<String>)> {
        let plan = ClusterRoleAggregationController::reconcile(&roles, jiff::Timestamp::UNIX_EPOCH);
        plan.actions
            .iter()
            .map(|action| {
                let Action::Update { object, .. } = action else { panic!("{action:?}") };
                let rules = object.at(&["rules"]).and_then(Value::as_array).unwrap();
                let resources = rules.iter().map(|r| r["resources"][0].as_str().unwrap().to_owned());
                (object.name().to_owned(), resources.collect())
            })
            .collect()
    }

    #[test]
    fn a_role_gathers_the_rules_of_those_it_selects() {
        let roles = vec![
            role("a", "to-view", "", &["pods", "nodes"]),
            role("b", "to-view", "", &["pods", "secrets"]),
            role("c", "to-edit", "", &["services"]),
            role("view", "to-view", "to-view", &["old"]),
        ];
        let view = ["pods", "nodes", "secrets"].map(str::to_owned).to_vec();
        assert_eq!(written(roles.clone()), [("view".to_owned(), view.clone())]);
        let done =
            [&roles[..3], &[role("view", "to-view", "to-view", &["pods", "nodes", "secrets"])]].concat();
        assert!(written(done).is_empty(), "what is right is left alone");
        assert_eq!(written(vec![role("none", "x", "y", &["old"])]), [("none".to_owned(), Vec::new())]);
    }
}
