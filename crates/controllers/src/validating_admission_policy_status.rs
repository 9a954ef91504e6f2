//! Holds the expressions of validating admission policies against the types of the kinds that they match, and shows in
//! their status what does not fit (`pkg/controller/validatingadmissionpolicystatus`).
//!
//! As upstream, a policy is judged once for each change of it: kinds that are defined later change nothing.

use std::sync::Arc;

use api::Object;
use informer::{Action, Cache, Controller, Plan, Round, Sources};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use resources::{KindTable, ResourceSource, policy_types};
use serde_json::{Value, json};

use crate::target::{dynamic, target};

/// Keys are policies.
pub struct ValidatingAdmissionPolicyStatusController {
    policies: Cache<ValidatingAdmissionPolicy>,
    kinds: Arc<dyn ResourceSource>,
}

/// A policy, and the kinds that are served.
pub struct Observed {
    policy: Object,
    kinds: Arc<KindTable>,
}

impl Controller for ValidatingAdmissionPolicyStatusController {
    const NAME: &'static str = "validatingadmissionpolicy-status-controller";
    const QUEUE: &'static str = "validatingadmissionpolicy-status";
    const WORKERS: usize = 1;
    type Config = Arc<dyn ResourceSource>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, kinds: Arc<dyn ResourceSource>) -> Self {
        Self { policies: sources.primary(), kinds }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        // A policy may come together with the definition of the kind that it matches.
        self.kinds.settled().await;
        let policy = self.policies.get_key(round.key).map(|policy| dynamic(&*policy));
        Ok(policy.map(|policy| Observed { policy, kinds: self.kinds.table() }))
    }

    fn reconcile(Observed { policy, kinds }: &Observed, _: jiff::Timestamp) -> Plan {
        let observed = policy.at(&["status", "observedGeneration"]).and_then(Value::as_i64).unwrap_or(0);
        if policy.generation() <= observed {
            return Plan::nothing();
        }
        let warnings: Vec<Value> = policy_types::warnings(policy, kinds)
            .into_iter()
            .map(|told| json!({"fieldRef": told.field_ref, "warning": told.warning}))
            .collect();
        // That there are none is said by a `typeChecking` without any.
        let warnings = if warnings.is_empty() { Value::Null } else { Value::Array(warnings) };
        let patch = json!({"status": {
            "observedGeneration": policy.generation(), "typeChecking": {"expressionWarnings": warnings},
        }});
        let target = target::<ValidatingAdmissionPolicy>("", policy.name()).subresource("status");
        let mut plan = Plan::nothing().because("the policy has changed since its expressions were judged");
        plan.then(Action::MergePatch { target, patch });
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written of a policy on deployments.
    fn written(expression: &str, generation: i64, status: &Value) -> Option<Value> {
        let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
            "operations": ["CREATE"]});
        let policy = json!({
            "metadata": {"name": "p", "generation": generation}, "status": status,
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]},
        });
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(policy).expect("a policy");
        let observed = Observed { policy: dynamic(&policy), kinds: Arc::new(resources::builtin().with([])) };
        let plan =
            ValidatingAdmissionPolicyStatusController::reconcile(&observed, jiff::Timestamp::UNIX_EPOCH);
        plan.actions.into_iter().next().map(|action| {
            let Action::MergePatch { target, patch } = action else { panic!("{action:?}") };
            let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/p/status";
            assert_eq!(target.path(), path);
            patch["status"].clone()
        })
    }

    #[test]
    fn a_policy_that_fits_is_told_to_have_been_judged() {
        let status = written("object.spec.replicas > 1", 1, &Value::Null);
        let none = json!({"observedGeneration": 1, "typeChecking": {"expressionWarnings": null}});
        assert_eq!(status, Some(none));
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let warning = "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'nonexist'\n \
                       | object.spec.nonexist > 1\n | ...........^\n";
        let warnings = json!([{"fieldRef": "spec.validations[0].expression", "warning": warning}]);
        let status = json!({"observedGeneration": 1, "typeChecking": {"expressionWarnings": warnings}});
        assert_eq!(written("object.spec.nonexist > 1", 1, &Value::Null), Some(status));
    }

    #[test]
    fn a_change_is_judged_once() {
        let judged = json!({"observedGeneration": 1, "typeChecking": {}});
        assert_eq!(written("object.spec.nonexist > 1", 1, &judged), None);
        let again = written("object.spec.nonexist > 1", 2, &judged).expect("a newer generation is judged");
        assert_eq!(again["observedGeneration"], 2);
    }
}
