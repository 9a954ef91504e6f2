//! Requests for certificates: what was asked for cannot be changed, only answered.

use api::Object;
use api::field::ErrorList;
use serde_json::{Value, json};

use crate::columns::policy;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::PartHandler;
use crate::status;
use crate::validation::certificates;

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
        // Decisions that are told as often as before stay as they are; more or fewer are refused later.
        let mut conditions = certificates::conditions(new).to_vec();
        for decision in certificates::DECISIONS {
            let before = certificates::conditions(old).iter().filter(|condition| kind(condition) == decision);
            let is_told = |condition: &&mut Value| kind(condition) == decision;
            if conditions.iter_mut().filter(is_told).count() == before.clone().count() {
                conditions
                    .iter_mut()
                    .filter(is_told)
                    .zip(before)
                    .for_each(|(told, was)| told.clone_from(was));
            }
        }
        if !conditions.is_empty() {
            new.set_at(&["status", "conditions"], conditions.into());
        }
    }

    fn validate(&self, object: &Object) -> ErrorList {
        certificates::signing_request(object)
    }

    fn changes(&self) -> Changes<'_> {
        // Spec and status stay as they were, whatever an update says.
        Changes::Judged(&|_, _| ErrorList::new())
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        certificates::signing(new, old)
    }

    fn validate_part_update(&self, new: &Object, old: &Object) -> ErrorList {
        certificates::approval(new, old)
    }
}

fn kind(condition: &Value) -> &str {
    condition.get("type").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_does_not_decide() {
        let said = |kinds: &[&str]| {
            let list: Vec<_> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            Object::from_value(json!({"metadata": {"name": "c"}, "status": {"conditions": list}}))
                .expect("an object")
        };
        let after = |new: &[&str], old: &[&str]| {
            let (mut signed, old) = (said(new), said(old));
            SigningRequest.prepare_status_update(&mut signed, &old);
            let faults = SigningRequest.validate_status_update(&signed, &old);
            let kinds: Vec<String> =
                certificates::conditions(&signed).iter().map(|c| kind(c).to_owned()).collect();
            (kinds.join(" "), faults.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(after(&["Approved", "Failed"], &["Approved"]), ("Approved Failed".to_owned(), Vec::new()));
        let added = "status.conditions: Forbidden: updates may not add a condition of type \"Denied\"";
        let (_, faults) = after(&["Approved", "Denied"], &["Approved"]);
        assert!(faults.iter().any(|fault| fault == added), "{faults:?}");
        let (_, faults) = after(&["Failed"], &["Approved"]);
        assert_eq!(
            faults,
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
        );
        // What a decision says stays, too.
        let mut told = said(&["Approved"]);
        told.set_at(&["status", "conditions"], json!([{"type": "Approved", "status": "False"}]));
        SigningRequest.prepare_status_update(&mut told, &said(&["Approved"]));
        assert_eq!(certificates::conditions(&told)[0]["status"], "True");
    }
}
