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
        let decided = |object: &Object| -> (Vec<Value>, Vec<Value>) {
            let is_decision = |condition: &Value| certificates::DECISIONS.contains(&kind(condition));
            certificates::conditions(object).iter().cloned().partition(is_decision)
        };
        let (mut kept, said) = (decided(old).0, decided(new).1);
        kept.extend(said);
        if !kept.is_empty() {
            new.set_at(&["status", "conditions"], kept.into());
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
        let mut signed = said(&["Denied", "Failed"]);
        SigningRequest.prepare_status_update(&mut signed, &said(&["Approved"]));
        let kinds: Vec<_> = certificates::conditions(&signed).iter().map(kind).collect();
        assert_eq!(kinds, ["Approved", "Failed"]);
    }
}
