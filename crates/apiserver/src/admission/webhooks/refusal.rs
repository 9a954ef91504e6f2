//! What a client is told when a webhook refuses or cannot be asked, in upstream's words
//! (`k8s.io/apiserver/pkg/admission/plugin/webhook/errors`).

use api::{Error, Given, Reason};
use serde_json::{Map, Value};

/// Why a webhook has not let a request pass.
#[derive(Debug)]
pub(super) enum Fault {
    /// It could not be asked, or gave no answer: its failure policy decides.
    Call { why: String, code: u16 },
    /// It has said no.
    Refused(Error),
    /// What it wants cannot be done.
    Server(Error),
}

impl Fault {
    pub(super) fn invalid(why: impl std::fmt::Display) -> Self {
        Self::Call { why: format!("received invalid webhook response: {why}"), code: 503 }
    }

    /// For metrics: what sort of fault, and the code that the client gets.
    pub(super) fn sort(&self) -> (&'static str, u16) {
        match self {
            Self::Call { code, .. } => ("calling_webhook_error", *code),
            Self::Refused(error) => ("no_error", error.code()),
            Self::Server(_) => ("apiserver_internal_error", 0),
        }
    }
}

/// The webhook could not be asked, and the request fails with that.
pub(super) fn uncalled(webhook: &str, why: &str) -> Error {
    Error::internal(format!("failed calling webhook {webhook:?}: {why}"))
}

/// A dry run that would not be one.
pub(super) fn no_dry_run(webhook: &str) -> Error {
    Error::bad_request(format!("admission webhook {webhook:?} does not support dry run"))
}

/// The webhook has said no, with a `Status` of its own or without.
pub(super) fn denied(webhook: &str, status: Option<Map<String, Value>>) -> Error {
    let mut status = status.unwrap_or_default();
    let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or("");
    let by = format!("admission webhook {webhook:?} denied the request");
    let reason = text("reason").to_owned();
    let message = match (text("message"), reason.as_str()) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    // A refusal is no success, whatever its code says.
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let details = match status.remove("details") {
        Some(Value::Object(details)) => Some(Box::new(details)),
        _ => None,
    };
    let given = Some(Box::new(Given { code, reason }));
    Error { details, given, ..Error::new(Reason::Unknown, message) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_say_who_and_why() {
        let denied = |status: Value| {
            let error = denied("a.b.c", status.as_object().cloned());
            let status = error.to_status();
            (
                status["code"].as_u64().unwrap(),
                status["reason"].as_str().unwrap_or("").to_owned(),
                error.message,
            )
        };
        let by = |rest: &str| format!("admission webhook \"a.b.c\" denied the request{rest}");
        assert_eq!(denied(Value::Null), (400, String::new(), by(" without explanation")));
        assert_eq!(denied(json!({"reason": "Because"})), (400, "Because".into(), by(": Because")));
        assert_eq!(
            denied(json!({"code": 403, "reason": "Forbidden", "message": "no"})),
            (403, "Forbidden".into(), by(": no"))
        );
        assert_eq!(denied(json!({"code": 200, "message": "no"})), (400, String::new(), by(": no")));
    }
}
