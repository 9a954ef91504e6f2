//! [`ValidatingWebhooks`]: asks all webhooks of a request at once, about its final object.

use std::time::Instant;

use api::{Error, Object};
use futures::future::join_all;

use super::configured::{self, Hook};
use super::exchange::{self, Verdict, Wrong};
use super::refusal::{self, Fault};
use super::seen::Seen;
use super::{Asking, GROUP};
use crate::admission::asked;
use crate::admission::derived::Derived;
use crate::admission::plugin::{Admission, Review};
use crate::eventual::Eventual;

/// See the module's documentation.
pub struct ValidatingWebhooks {
    asking: Asking,
    hooks: Derived<Vec<Hook>>,
}

impl ValidatingWebhooks {
    pub fn new(asking: Asking) -> Self {
        let hooks = Derived::new(&asking.lookup, GROUP, "validatingwebhookconfigurations", configured::read);
        Self { asking, hooks }
    }

    async fn ask(&self, hooks: &[Hook], review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let mut seen = Vec::new();
        for hook in hooks {
            if let Some(one) = self.asking.seen(hook, review, object).await? {
                seen.push((hook, one));
            }
        }
        let calls = seen.iter().enumerate().map(|(index, (hook, seen))| async move {
            let started = Instant::now();
            let result = self.asking.consult(hook, review, seen, false).await.map(|_| ());
            let fault = result.err();
            let metrics = &self.asking.metrics;
            metrics.observe(
                &hook.name,
                "validating",
                review.operation,
                started.elapsed(),
                fault.as_ref(),
                hook.fails,
            );
            match fault? {
                Fault::Call { why, .. } if hook.fails => Some(refusal::uncalled(&hook.name, &why)),
                Fault::Call { why, .. } => {
                    tracing::warn!(webhook = hook.name, why, "a webhook cannot be asked; the request passes");
                    let key =
                        format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
                    review.attributes.notes.annotate(&key, hook.name.as_str());
                    None
                }
                Fault::Refused(error) | Fault::Server(error) => Some(error),
            }
        });
        // All are asked to the end, as upstream: what one refuses another may note.
        join_all(calls).await.into_iter().flatten().next().map_or(Ok(()), Err)
    }
}

impl Admission for ValidatingWebhooks {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let Some(hooks) = self.hooks.now().filter(|hooks| !hooks.is_empty() && !asked::is_exempt(review))
        else {
            return Ok(()).into();
        };
        Eventual::later(async move { self.ask(&hooks, review, object).await })
    }
}

impl Asking {
    /// Asks one webhook, and notes what it wants to be noted.
    pub(super) async fn consult(
        &self,
        hook: &Hook,
        review: &Review<'_>,
        seen: &Seen<'_>,
        mutating: bool,
    ) -> Result<Verdict, Fault> {
        if review.dry_run && !hook.is_harmless {
            return Err(Fault::Refused(refusal::no_dry_run(&hook.name)));
        }
        let unmade =
            |why: &str| Fault::Call { why: format!("could not create admission objects: {why}"), code: 400 };
        let version = hook
            .version
            .ok_or_else(|| unmade("webhook does not accept known AdmissionReview versions (v1, v1beta1)"))?;
        let callee = hook
            .callee
            .as_ref()
            .map_err(|why| Fault::Call { why: format!("could not get REST client: {why}"), code: 500 })?;
        let body = exchange::body(version, seen).map_err(|error| unmade(&error.to_string()))?;
        let uncalled =
            |why: String, code| Fault::Call { why: format!("failed to call webhook: {why}"), code };
        let answer = self.caller.post(callee, body, hook.timeout).await;
        let answer = answer.map_err(|failure| uncalled(failure.why, failure.code))?;
        let uid = seen.request.get("uid").and_then(serde_json::Value::as_str).unwrap_or_default();
        let verdict = exchange::read(version, mutating, uid, &answer).map_err(|wrong| match wrong {
            Wrong::Unreadable(why) => uncalled(why, 503),
            Wrong::Invalid(why) => Fault::invalid(why),
            Wrong::PatchType(of) => Fault::Call { why: format!("unsupported patch type {of:?}"), code: 503 },
        })?;
        let notes = &review.attributes.notes;
        for (key, value) in &verdict.audit_annotations {
            notes.annotate(&format!("{}/{key}", hook.name), value.as_str());
        }
        for warning in &verdict.warnings {
            notes.warn(warning.as_str());
        }
        if verdict.allowed {
            return Ok(verdict);
        }
        Err(Fault::Refused(refusal::denied(&hook.name, verdict.status)))
    }
}
