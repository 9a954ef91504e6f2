//! What a client is told when a policy refuses, in upstream's words
//! (`k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go`).

use api::{Error, Given, Object, Reason};
use serde_json::json;

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
