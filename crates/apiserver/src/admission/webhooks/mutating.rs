//! [`MutatingWebhooks`]: asks the webhooks of a request one after another; each sees what those before it changed.

use std::time::Instant;

use api::codec::Limits;
use api::{Error, Object, patch};
use resources::Resource;
use serde_json::json;

use super::configured::{self, Hook};
use super::refusal::{self, Fault};
use super::{Asking, GROUP};
use crate::admission::asked;
use crate::admission::derived::Derived;
use crate::admission::plugin::{Admission, Review};
use crate::eventual::Eventual;

const NAME: &str = "MutatingAdmissionWebhook";

/// See the module's documentation.
pub struct MutatingWebhooks {
    asking: Asking,
    hooks: Derived<Vec<Hook>>,
}

impl MutatingWebhooks {
    pub fn new(asking: Asking) -> Self {
        let hooks = Derived::new(&asking.lookup, GROUP, "mutatingwebhookconfigurations", configured::read);
        Self { asking, hooks }
    }

    async fn ask(
        &self,
        hooks: &[Hook],
        review: &Review<'_>,
        mut object: Option<&mut Object>,
    ) -> Result<(), Error> {
        review.rounds.enter(NAME, object.as_deref());
        for (index, hook) in hooks.iter().enumerate() {
            self.ask_one(index, hook, review, object.as_deref_mut()).await?;
        }
        review.rounds.leave(NAME, object.as_deref());
        Ok(())
    }

    async fn ask_one(
        &self,
        index: usize,
        hook: &Hook,
        review: &Review<'_>,
        object: Option<&mut Object>,
    ) -> Result<(), Error> {
        // Who was not asked in the first round is not in the second, even if it would be by now.
        if !review.rounds.includes(NAME, &hook.uid) {
            return Ok(());
        }
        let (rounds, notes) = (&review.rounds, &review.attributes.notes);
        let started = Instant::now();
        let Some(result) = self.call(index, hook, review, object).await? else { return Ok(()) };
        let changed = *result.as_ref().unwrap_or(&false);
        rounds.asked(NAME, &hook.uid, changed, hook.again);
        let place = format!("round_{}_index_{index}", rounds.number());
        let mutation = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed});
        notes.annotate(&format!("mutation.webhook.admission.k8s.io/{place}"), mutation.to_string());
        let fault = result.err();
        let (metrics, took) = (&self.asking.metrics, started.elapsed());
        metrics.observe(&hook.name, "admit", review.operation, took, fault.as_ref(), hook.fails);
        match fault {
            None => Ok(()),
            Some(Fault::Call { why, .. }) if hook.fails => Err(refusal::uncalled(&hook.name, &why)),
            Some(Fault::Call { why, .. }) => {
                tracing::warn!(webhook = hook.name, why, "a webhook cannot be asked; the request passes");
                let key = format!("failed-open.mutation.webhook.admission.k8s.io/{place}");
                notes.annotate(&key, hook.name.as_str());
                Ok(())
            }
            Some(Fault::Refused(error) | Fault::Server(error)) => Err(error),
        }
    }

    /// Asks the webhook and changes the object as it says; whether there is a change. `None` when it is not asked.
    async fn call(
        &self,
        index: usize,
        hook: &Hook,
        review: &Review<'_>,
        object: Option<&mut Object>,
    ) -> Result<Option<Result<bool, Fault>>, Error> {
        let Some(seen) = self.asking.seen(hook, review, object.as_deref()).await? else { return Ok(None) };
        let verdict = match self.asking.consult(hook, review, &seen, true).await {
            Ok(verdict) if verdict.patch.is_empty() => return Ok(Some(Ok(false))),
            Ok(verdict) => verdict,
            Err(fault) => return Ok(Some(Err(fault))),
        };
        let before = seen.object.map(std::borrow::Cow::into_owned);
        let other = seen.other;
        let row = other.as_deref().unwrap_or(review.resource);
        let mut patched = match patched(hook, review, row, before.as_ref(), &verdict.patch) {
            Ok(Some(patched)) => patched,
            Ok(None) => return Ok(Some(Ok(false))),
            Err(fault) => return Ok(Some(Err(fault))),
        };
        let changed = before.as_ref() != Some(&patched);
        if let Some(other) = &other
            && asked::kind(review, review.resource) == review.resource.gvk()
        {
            self.asking.convert(other, review.resource, &mut patched).await?;
        }
        if let Some(object) = object {
            *object = patched;
        }
        let round = review.rounds.number();
        tracing::debug!(webhook = hook.name, round, index, changed, "a webhook's patch is applied");
        Ok(Some(Ok(changed)))
    }
}

/// The object after a patch, with the defaults of what the patch added. `None` for a patch of no operations.
fn patched(
    hook: &Hook,
    review: &Review<'_>,
    row: &Resource,
    before: Option<&Object>,
    patch: &[u8],
) -> Result<Option<Object>, Fault> {
    let operations: Vec<serde_json::Value> = serde_json::from_slice(patch).map_err(|error| Fault::Call {
        why: format!("received undecodable patch in webhook response: {error}"),
        code: 503,
    })?;
    if operations.is_empty() {
        return Ok(None);
    }
    let server = |why: String| Fault::Server(Error::internal(why));
    let before = before.ok_or_else(|| {
        server(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        ))
    })?;
    let document = before.clone().into_value();
    let patched = patch::json(&document, patch, &Limits::default()).map_err(|error| server(error.message))?;
    let mut patched =
        Object::from_value(patched).ok_or_else(|| server("the patched value is no object".to_owned()))?;
    if (patched.api_version(), patched.kind()) != (before.api_version(), before.kind()) {
        return Err(server(format!(
            "admission webhook {:?} attempted to change the object's kind",
            hook.name
        )));
    }
    let kind = asked::kind(review, row);
    if kind == row.gvk() {
        row.schema.check(&mut patched).map_err(|error| server(error.message))?;
        row.schema.omit_empty(&mut patched);
        row.logic.default(&mut patched);
    } else if let Some(schema) = resources::schema_of_kind(&kind) {
        schema.check(&mut patched).map_err(|error| server(error.message))?;
    }
    Ok(Some(patched))
}

impl Admission for MutatingWebhooks {
    fn name(&self) -> &'static str {
        NAME
    }

    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let Some(hooks) = self.hooks.now().filter(|hooks| !hooks.is_empty() && !asked::is_exempt(review))
        else {
            return Ok(()).into();
        };
        Eventual::later(async move { self.ask(&hooks, review, object).await })
    }

    fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.asking.metrics.register(registry);
    }
}
