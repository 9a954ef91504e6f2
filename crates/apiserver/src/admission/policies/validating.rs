//! [`ValidatingPolicies`]: asks all policies that are bound to a request, about its final object.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Error, GroupResource, Object};
use resources::Resource;
use serde_json::{Value, json};

use super::configured::{self, Binding, Bindings, Policies, Policy};
use super::judgement::{self, Judgement, Objection};
use super::params;
use super::refusal::Denied;
use crate::admission::asked;
use crate::admission::authority::Authority;
use crate::admission::conditions::Inputs;
use crate::admission::derived::Derived;
use crate::admission::matching::Covered;
use crate::admission::plugin::{Admission, Review};
use crate::admission::webhooks::{Asking, GROUP};
use crate::cache::lookup::decode;
use crate::eventual::Eventual;

/// See the module's documentation.
pub struct ValidatingPolicies {
    asking: Asking,
    policies: Derived<Policies>,
    bindings: Derived<Bindings>,
}

/// A request as a policy sees it.
struct Seen<'a> {
    object: Option<Cow<'a, Object>>,
    old: Option<Cow<'a, Object>>,
    request: Value,
    namespace: Option<Value>,
}

/// What the policies say so far.
#[derive(Default)]
struct Said {
    denied: Vec<Denied>,
    /// Of the policy that is asked: audit annotations and their values.
    annotations: BTreeMap<String, Vec<String>>,
}

impl ValidatingPolicies {
    pub fn new(asking: Asking) -> Self {
        let of = |plural| (asking.lookup.clone(), plural);
        let (lookup, plural) = of("validatingadmissionpolicies");
        let policies = Derived::new(&lookup, GROUP, plural, configured::policies);
        let (lookup, plural) = of("validatingadmissionpolicybindings");
        let bindings = Derived::new(&lookup, GROUP, plural, configured::bindings);
        Self { asking, policies, bindings }
    }

    async fn ask(
        &self,
        policies: &Policies,
        bindings: &Bindings,
        review: &Review<'_>,
        object: Option<&Object>,
    ) -> Result<(), Error> {
        let mut said = Said::default();
        for (name, policy) in policies {
            let Some(bound) = bindings.get(name) else { continue };
            self.ask_one(name, policy, bound, review, object, &mut said).await?;
        }
        said.denied.first().map_or(Ok(()), |denied| Err(denied.error(review, object)))
    }

    async fn ask_one(
        &self,
        name: &str,
        policy: &Policy,
        bound: &[Binding],
        review: &Review<'_>,
        object: Option<&Object>,
        said: &mut Said,
    ) -> Result<(), Error> {
        let alike = || self.asking.alike(review);
        let other = match policy.matching.covers(review, object, alike) {
            Covered::Not => return Ok(()),
            Covered::AsItIs => None,
            Covered::As(row) => Some(row),
        };
        if !policy.matching.selects(&self.asking.lookup, review, object)? {
            return Ok(());
        }
        let kind = policy.param_kind.as_ref().map(|kind| params::row(&self.asking, kind)).transpose();
        let kind = match kind {
            Ok(kind) => kind,
            Err(why) => {
                said.misconfigured(name, policy, None, &format!("failed to configure policy: {why}"));
                return Ok(());
            }
        };
        let seen = self.seen(other, review, object).await?;
        for binding in bound {
            if let Some(matching) = &binding.matching
                && (matching.has_rules() && matches!(matching.covers(review, object, alike), Covered::Not)
                    || !matching.selects(&self.asking.lookup, review, object)?)
            {
                continue;
            }
            let (reference, namespace) = (binding.param_ref.as_ref(), asked::namespace(review, object));
            let found = params::collect(&self.asking, kind.as_deref(), reference, namespace).await;
            match found {
                Ok(found) => {
                    for one in &found {
                        let judgement = self.judge(policy, &seen, one.as_ref(), review);
                        said.take_in(name, binding, judgement, review);
                    }
                }
                Err(why) => {
                    let why = format!("failed to configure binding: {why}");
                    said.misconfigured(name, policy, Some(binding), &why);
                }
            }
        }
        for (key, values) in std::mem::take(&mut said.annotations) {
            review.attributes.notes.annotate(&format!("{name}/{key}"), values.join(", "));
        }
        Ok(())
    }

    async fn seen<'a>(
        &self,
        other: Option<Arc<Resource>>,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Result<Seen<'a>, Error> {
        let row = other.as_deref().unwrap_or(review.resource);
        let (mut seen, mut old) = (object.map(Cow::Borrowed), review.old.map(Cow::Borrowed));
        if let Some(to) = &other
            && asked::kind(review, review.resource) == review.resource.gvk()
        {
            for side in [&mut seen, &mut old].into_iter().flatten() {
                self.asking.convert(review.resource, to, side.to_mut()).await?;
            }
        }
        let name = review.attributes.namespace.as_str();
        let namespace = if name.is_empty() || review.is_about("", "namespaces") {
            None
        } else {
            let entry = self.asking.lookup.entry("", "namespaces", "", name);
            let missing = || Error::not_found(&GroupResource::new("", "namespaces"), name);
            Some(entry.and_then(|entry| decode(&entry)).ok_or_else(missing)?)
        };
        Ok(Seen { request: asked::request(review, row, object).into(), object: seen, old, namespace })
    }

    fn judge(
        &self,
        policy: &Policy,
        seen: &Seen<'_>,
        params: Option<&Value>,
        review: &Review<'_>,
    ) -> Judgement {
        let mut inputs = Inputs {
            object: seen.object.as_deref(),
            old: seen.old.as_deref(),
            request: &seen.request,
            namespace: seen.namespace.as_ref(),
            authorizer: Arc::new(Authority::new(&self.asking.authorizer, review.attributes)),
            params,
            variables: None,
        };
        judgement::judge(policy, &mut inputs)
    }
}

impl Said {
    /// A policy or binding that cannot be used refuses what it is about, unless it is not to.
    fn misconfigured(&mut self, name: &str, policy: &Policy, binding: Option<&Binding>, why: &str) {
        if policy.fails {
            self.denied.push(Denied {
                policy: name.to_owned(),
                binding: binding.map(|binding| binding.name.clone()),
                message: why.to_owned(),
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
            let values = self.annotations.entry(key).or_default();
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
