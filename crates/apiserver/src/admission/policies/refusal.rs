//! What a client is told when a policy refuses ([`Denied`]) or cannot do its work ([`Failures`]), in upstream's words
//! (`k8s.io/apiserver/pkg/admission/plugin/policy`: `validating/dispatcher.go`, `generic/policy_dispatcher.go`).

use api::{Error, Given, Object, Reason};
use serde_json::{Value, json};

use super::configured::Mutations;
use super::dispatch::{Call, Misconfigured};
use crate::admission::plugin::Review;

/// Why a request is refused.
pub(super) struct Denied {
    pub policy: String,
    /// `None` when the policy itself cannot be used.
    pub binding: Option<String>,
    pub message: String,
    pub reason: String,
}

impl Denied {
    pub(super) fn error(&self, review: &Review<'_>, object: Option<&Object>) -> Error {
        let Self { policy, binding, message, reason } = self;
        let message = match binding {
            Some(binding) => format!(
                "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {message}"
            ),
            None => format!("ValidatingAdmissionPolicy '{policy}' denied request: {message}"),
        };
        let (code, kept) = match reason.as_str() {
            "Unauthorized" => (401, Reason::Unauthorized),
            "Forbidden" => (403, Reason::Forbidden),
            "RequestEntityTooLarge" => (413, Reason::RequestEntityTooLarge),
            _ => (422, Reason::Invalid),
        };
        let mut error = review.forbid(object, &message).with_detail("causes", json!([{"message": message}]));
        error.reason = kept;
        error.given = Some(Box::new(Given { code, reason: reason.clone() }));
        error
    }
}

/// Why mutating policies fail a request.
#[derive(Default)]
pub(super) struct Failures {
    messages: Vec<String>,
    /// The reason of the first.
    reason: Option<Reason>,
}

impl Failures {
    pub(super) fn misconfigured(&mut self, what: &Misconfigured<'_>) {
        let Misconfigured { name, binding, why, .. } = what;
        let message = match binding {
            Some(binding) => with_binding(name, &binding.name, why),
            None => format!("policy {name:?} denied request: {why}"),
        };
        self.push(message, Reason::Forbidden);
    }

    /// Of a policy that is to fail requests: what went wrong.
    pub(super) fn add(&mut self, call: &Call<'_, Mutations>, why: String) {
        if call.policy.fails {
            self.push(with_binding(call.name, &call.binding.name, &why), Reason::Invalid);
        }
    }

    fn push(&mut self, message: String, reason: Reason) {
        self.reason.get_or_insert(reason);
        self.messages.push(message);
    }

    /// # Errors
    /// 403 where anything failed.
    pub(super) fn into_result(self, review: &Review<'_>, object: &Object) -> Result<(), Error> {
        let (Some(first), Some(reason)) = (self.messages.first(), self.reason) else { return Ok(()) };
        let causes: Vec<Value> = self.messages.iter().map(|message| json!({"message": message})).collect();
        let mut error = review.forbid(Some(object), "").with_detail("causes", json!(causes));
        error.message.clone_from(first);
        error.given = Some(Box::new(Given { code: 403, reason: reason.as_str().to_owned() }));
        error.reason = reason;
        Err(error)
    }
}

fn with_binding(policy: &str, binding: &str, why: &str) -> String {
    format!("policy '{policy}' with binding '{binding}' denied request: {why}")
}
