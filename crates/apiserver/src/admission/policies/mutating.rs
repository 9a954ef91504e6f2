//! [`MutatingPolicies`]: has the policies that are bound to a request change its object, one after another; each sees
//! what those before it changed. Upstream: `k8s.io/apiserver/pkg/admission/plugin/policy/mutating/dispatcher.go`.

use std::borrow::Cow;
use std::time::Instant;

use api::{Error, Object};

use super::change::{self, Change, Fault};
use super::configured::{self, Bindings, Mutation, Mutations, Policies};
use super::dispatch::{self, Call, Found, Seen};
use super::metrics::Metrics;
use super::refusal::Failures;
use crate::admission::asked;
use crate::admission::conditions::Judged;
use crate::admission::derived::Derived;
use crate::admission::plugin::{Admission, Operation, Review};
use crate::admission::webhooks::{Asking, GROUP};
use crate::eventual::Eventual;

const NAME: &str = "MutatingAdmissionPolicy";

/// See the module's documentation.
pub struct MutatingPolicies {
    asking: Asking,
    policies: Derived<Policies<Mutations>>,
    bindings: Derived<Bindings>,
    metrics: Metrics,
}

impl MutatingPolicies {
    pub fn new(asking: Asking) -> Self {
        let lookup = asking.lookup.clone();
        let policies = Derived::new(&lookup, GROUP, "mutatingadmissionpolicies", configured::policies);
        let bindings = Derived::new(&lookup, GROUP, "mutatingadmissionpolicybindings", configured::bindings);
        Self { asking, policies, bindings, metrics: Metrics::default() }
    }

    async fn ask(
        &self,
        policies: &Policies<Mutations>,
        bindings: &Bindings,
        review: &Review<'_>,
        object: &mut Object,
    ) -> Result<(), Error> {
        review.rounds.enter(NAME, Some(object));
        let (mut failures, mut calls) = (Failures::default(), Vec::new());
        for found in dispatch::find(&self.asking, policies, bindings, review, Some(object)).await? {
            match found {
                Found::Call(call) => calls.push(call),
                Found::Misconfigured(what) if what.fails => failures.misconfigured(&what),
                Found::Misconfigured(_) => {}
            }
        }
        let mut changed = false;
        for call in &calls {
            changed |= self.call(call, review, object, &mut failures).await?;
        }
        if changed {
            review.rounds.changed(NAME);
        }
        review.rounds.leave(NAME, Some(object));
        failures.into_result(review, object)
    }

    /// Has a policy change the object; whether it did.
    async fn call(
        &self,
        call: &Call<'_, Mutations>,
        review: &Review<'_>,
        object: &mut Object,
        failures: &mut Failures,
    ) -> Result<bool, Error> {
        let before = object.clone();
        let mut seen = dispatch::see(&self.asking, call.other.as_ref(), review, Some(&before)).await?;
        match call.policy.conditions.judge(&seen.inputs(&self.asking, review, call.params.as_ref())) {
            Judged::Holds => {}
            Judged::Failed(why) => {
                failures.add(call, why);
                return Ok(false);
            }
            Judged::Excluded => return Ok(false),
        }
        let key = key(call);
        if !review.rounds.includes(NAME, &key) {
            return Ok(false);
        }
        for mutation in &call.policy.rules.all {
            self.mutate(call, mutation, review, &mut seen, failures)?;
        }
        let Some(after) = seen.object.filter(|after| matches!(after, Cow::Owned(_))) else {
            review.rounds.asked(NAME, &key, false, call.policy.rules.again);
            return Ok(false);
        };
        let mut after = after.into_owned();
        if let Some(other) = dispatch::converted(review, call.other.as_ref()) {
            self.asking.convert(other, review.resource, &mut after).await?;
        }
        let changed = after != before;
        if changed {
            *object = after;
        }
        review.rounds.asked(NAME, &key, changed, call.policy.rules.again);
        Ok(changed)
    }

    /// Makes one change of the object that is seen.
    fn mutate(
        &self,
        call: &Call<'_, Mutations>,
        mutation: &Mutation,
        review: &Review<'_>,
        seen: &mut Seen<'_>,
        failures: &mut Failures,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let result = self.changed(call, mutation, review, seen);
        let sort = result.as_ref().err().map_or("no_error", Fault::sort);
        self.metrics.observe(call.name, &call.binding.name, sort, started.elapsed());
        match result {
            Ok(changed) => seen.object = Some(Cow::Owned(changed)),
            Err(Fault::Policy(why)) => failures.add(call, why),
            Err(Fault::Server(error)) => return Err(error),
        }
        Ok(())
    }

    fn changed(
        &self,
        call: &Call<'_, Mutations>,
        mutation: &Mutation,
        review: &Review<'_>,
        seen: &Seen<'_>,
    ) -> Result<Object, Fault> {
        let row = call.other.as_deref().unwrap_or(review.resource);
        let change: Change = {
            let mut inputs = seen.inputs(&self.asking, review, call.params.as_ref());
            change::evaluate(call.policy, mutation, &mut inputs).map_err(Fault::Policy)?
        };
        let object = seen.object.as_deref().ok_or_else(|| Fault::Policy("there is no object".to_owned()))?;
        change::apply(change, row, &asked::kind(review, row), object)
    }
}

/// What tells a call from all others of the request.
fn key(call: &Call<'_, Mutations>) -> String {
    let of_params = |key: &str| {
        let text = call.params.as_ref().and_then(|params| params["metadata"][key].as_str());
        text.unwrap_or_default()
    };
    let (name, binding) = (call.name, &call.binding.name);
    format!("{name}/{binding}/{}/{}", of_params("namespace"), of_params("name"))
}

impl Admission for MutatingPolicies {
    fn name(&self) -> &'static str {
        NAME
    }

    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        // A deletion sends nothing that could be changed.
        let Some(object) = object.filter(|_| review.operation != Operation::Delete) else {
            return Ok(()).into();
        };
        let bindings = self.bindings.now().filter(|bindings| !bindings.is_empty());
        let Some(bindings) = bindings.filter(|_| !asked::is_exempt(review)) else { return Ok(()).into() };
        let Some(policies) = self.policies.now() else { return Ok(()).into() };
        Eventual::later(async move { self.ask(&policies, &bindings, review, object).await })
    }

    fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry);
    }
}
