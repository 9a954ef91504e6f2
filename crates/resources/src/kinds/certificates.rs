//! Requests for certificates: what was asked for cannot be changed, only answered.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::{Value, json};

use crate::columns::policy;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::PartHandler;
use crate::status;

/// The shortest life of a certificate that can be asked for, in seconds.
const SHORTEST_S: i64 = 600;
/// The signer of old, which v1 does not serve.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// What decides a request, which only its own subresource says.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
/// Conditions that once said stay.
const LASTING: [&str; 3] = ["Approved", "Denied", "Failed"];

pub(super) fn certificate_signing_request() -> Kind {
    Kind::new("certificates.k8s.io/v1", "certificatesigningrequests", SigningRequest)
        .short("csr")
        .selectable("spec.signerName")
        .printed(policy::SIGNING, policy::signing)
        .part("approval", PartHandler::Approval)
}

struct SigningRequest;

impl Logic for SigningRequest {
    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({}));
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        status::keep(new, old);
        status::keep_field(new, old, "spec");
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_but_status(new, old);
        let decided = |object: &Object| -> (Vec<Value>, Vec<Value>) {
            conditions(object).iter().cloned().partition(|c| DECISIONS.contains(&kind(c)))
        };
        let (mut kept, said) = (decided(old).0, decided(new).1);
        kept.extend(said);
        if !kept.is_empty() {
            new.set_at(&["status", "conditions"], kept.into());
        }
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = Path::root("spec");
        let given = |field: &str| object.at(&["spec", field]);
        if given("usages").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            errors.push(FieldError::required(&spec.child("usages"), ""));
        }
        if given("signerName").and_then(Value::as_str) == Some(LEGACY_SIGNER) {
            let detail = "the legacy signerName is not allowed via this API version";
            errors.push(FieldError::invalid(&spec.child("signerName"), LEGACY_SIGNER, detail));
        }
        if let Some(seconds) = given("expirationSeconds").and_then(Value::as_i64).filter(|s| *s < SHORTEST_S)
        {
            let detail = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(FieldError::invalid(&spec.child("expirationSeconds"), seconds, detail));
        }
        errors.extend(faulty_conditions(object));
        errors
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("the spec stays as it was whatever an update says")
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = faulty_conditions(new);
        errors.extend(unsaid(new, old));
        errors
    }

    fn validate_part_update(&self, new: &Object, old: &Object) -> ErrorList {
        self.validate_status_update(new, old)
    }
}

fn conditions(object: &Object) -> &[Value] {
    object.at(&["status", "conditions"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn kind(condition: &Value) -> &str {
    condition.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn faulty_conditions(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let status = Path::root("status");
    let list = status.child("conditions");
    let mut seen: Vec<&str> = Vec::new();
    for (i, condition) in conditions(object).iter().enumerate() {
        let (at, kind) = (list.index(i), kind(condition));
        let said = condition.get("status").and_then(Value::as_str).unwrap_or_default();
        if kind.is_empty() {
            errors.push(FieldError::required(&at.child("type"), ""));
        }
        if LASTING.contains(&kind) && said != "True" {
            errors.push(FieldError::not_supported(&at.child("status"), said, &["True"]));
        }
        let decided = |other: &str| DECISIONS.contains(&other) && other != kind;
        if DECISIONS.contains(&kind) && seen.iter().any(|other| decided(other)) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&at.child("type"), kind, detail));
        }
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        seen.push(kind);
    }
    errors
}

/// The conditions that are taken back though they last.
fn unsaid(new: &Object, old: &Object) -> ErrorList {
    let status = Path::root("status");
    let list = status.child("conditions");
    let gone = conditions(old).iter().map(kind).filter(|was| {
        LASTING.contains(was) && !conditions(new).iter().any(|condition| kind(condition) == *was)
    });
    gone.map(|was| {
        FieldError::forbidden(&list, format!("updates may not remove a condition of type {was:?}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(spec: Value, conditions: Value) -> Object {
        let whole = json!({"metadata": {"name": "c"}, "spec": spec, "status": {"conditions": conditions}});
        Object::from_value(whole).expect("an object")
    }

    fn told(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_asked_for_is_judged() {
        let valid =
            json!({"signerName": "example.com/a", "usages": ["client auth"], "expirationSeconds": 600});
        assert_eq!(told(&SigningRequest.validate(&request(valid, json!([])))), [""; 0]);
        let bad = json!({"signerName": LEGACY_SIGNER, "expirationSeconds": 599});
        assert_eq!(
            told(&SigningRequest.validate(&request(bad, json!([])))),
            [
                "spec.usages: Required value",
                "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
                "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
            ]
        );
    }

    #[test]
    fn a_decision_is_one_and_stays() {
        let said = |kinds: &[&str]| {
            let list: Vec<_> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            request(json!({}), list.into())
        };
        assert!(SigningRequest.validate_part_update(&said(&["Approved"]), &said(&[])).is_empty());
        assert_eq!(
            told(&SigningRequest.validate_part_update(&said(&["Approved", "Denied"]), &said(&["Approved"]))),
            [
                "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
            ]
        );
        assert_eq!(
            told(&SigningRequest.validate_part_update(&said(&[]), &said(&["Approved"]))),
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
        );
        let mut signed = said(&["Denied", "Failed"]);
        SigningRequest.prepare_status_update(&mut signed, &said(&["Approved"]));
        let kinds: Vec<_> = conditions(&signed).iter().map(kind).collect();
        assert_eq!(kinds, ["Approved", "Failed"], "a signer does not decide");
    }
}
