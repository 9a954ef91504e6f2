//! [`ValidatingPolicies`]: asks all policies that are bound to a request, about its final object.

use std::collections::BTreeMap;

use api::{Error, Object};
use serde_json::json;

use super::configured::{self, Binding, Bindings, Policies, Validations};
use super::dispatch::{self, Found, Misconfigured};
use super::judgement::{self, Judgement, Objection};
use super::refusal::Denied;
use crate::admission::asked;
use crate::admission::derived::Derived;
use crate::admission::plugin::{Admission, Review};
use crate::admission::webhooks::{Asking, GROUP};
use crate::eventual::Eventual;

/// See the module's documentation.
pub struct ValidatingPolicies {
    asking: Asking,
    policies: Derived<Policies<Validations>>,
    bindings: Derived<Bindings>,
}

/// What the policies say so far.
#[derive(Default)]
struct Said {
    denied: Vec<Denied>,
    /// Audit annotations and their values, by policy and key.
    annotations: BTreeMap<(String, String), Vec<String>>,
}

impl ValidatingPolicies {
    pub fn new(asking: Asking) -> Self {
        let lookup = asking.lookup.clone();
        let policies = Derived::new(&lookup, GROUP, "validatingadmissionpolicies", configured::policies);
        let bindings =
            Derived::new(&lookup, GROUP, "validatingadmissionpolicybindings", configured::bindings);
        Self { asking, policies, bindings }
    }

    async fn ask(
        &self,
        policies: &Policies<Validations>,
        bindings: &Bindings,
        review: &Review<'_>,
        object: Option<&Object>,
    ) -> Result<(), Error> {
        let (mut said, mut seen) = (Said::default(), None);
        for found in dispatch::find(&self.asking, policies, bindings, review, object).await? {
            let call = match found {
                Found::Call(call) => call,
                Found::Misconfigured(what) => {
                    said.misconfigured(&what);
                    continue;
                }
            };
            // One for all calls of a policy, which follow one another.
            let seen = match &mut seen {
                Some((name, seen)) if *name == call.name => seen,
                seen => {
                    let made = dispatch::see(&self.asking, call.other.as_ref(), review, object).await?;
                    &mut seen.insert((call.name, made)).1
                }
            };
            let mut inputs = seen.inputs(&self.asking, review, call.params.as_ref());
            let judgement = judgement::judge(call.policy, &mut inputs);
            said.take_in(call.name, call.binding, judgement, review);
        }
        for ((name, key), values) in said.annotations {
            review.attributes.notes.annotate(&format!("{name}/{key}"), values.join(", "));
        }
        said.denied.first().map_or(Ok(()), |denied| Err(denied.error(review, object)))
    }
}

impl Said {
    /// A policy or binding that cannot be used refuses what it is about, unless it is not to.
    fn misconfigured(&mut self, what: &Misconfigured<'_>) {
        if what.fails {
            self.denied.push(Denied {
                policy: what.name.to_owned(),
                binding: what.binding.map(|binding| binding.name.clone()),
                message: what.why.clone(),
                reason: "Invalid".to_owned(),
            });
        }
    }

    fn take_in(&mut self, name: &str, binding: &Binding, judgement: Judgement, review: &Review<'_>) {
        let denied = |message: String, reason: String| Denied {
            policy: name.to_owned(),
            binding: Some(binding.name.clone()),
            message,
            reason,
        };
        let notes = &review.attributes.notes;
        for Objection { index, message, reason } in judgement.objections {
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => self.denied.push(denied(message.clone(), reason.clone())),
                    "Warn" => notes.warn(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{}': {message}",
                        binding.name
                    )),
                    "Audit" => {
                        let failure = json!([{"message": message, "policy": name, "binding": binding.name,
                            "expressionIndex": index, "validationActions": binding.actions}]);
                        let key = "validation.policy.admission.k8s.io/validation_failure";
                        notes.annotate(key, failure.to_string());
                    }
                    other => tracing::warn!(binding = binding.name, other, "an action is unknown"),
                }
            }
        }
        self.denied.extend(judgement.failures.into_iter().map(|why| denied(why, "Invalid".to_owned())));
        for (key, value) in judgement.annotations {
            let values = self.annotations.entry((name.to_owned(), key)).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
}

impl Admission for ValidatingPolicies {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let bindings = self.bindings.now().filter(|bindings| !bindings.is_empty());
        let Some(bindings) = bindings.filter(|_| !asked::is_exempt(review)) else { return Ok(()).into() };
        let Some(policies) = self.policies.now() else { return Ok(()).into() };
        Eventual::later(async move { self.ask(&policies, &bindings, review, object).await })
    }
}
