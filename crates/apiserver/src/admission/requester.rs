//! Writes the requesting user into each certificate signing request: signers and approvers decide by that user.

use api::{Error, Object};
use serde_json::{Value, json};

use super::plugin::{Immediate, Operation, Review};

/// Writes the creator of a certificate signing request into it. Upstream's storage does so; nobody can
/// ask in another's name.
pub struct Requester;

impl Immediate for Requester {
    fn name(&self) -> &'static str {
        "CertificateRequester"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned = review.operation == Operation::Create
            && review.is_about_whole("certificates.k8s.io", "certificatesigningrequests");
        let Some(request) = object.filter(|_| concerned) else { return Ok(()) };
        let user = &review.attributes.user;
        let said: [(&str, Value, bool); 4] = [
            ("username", json!(user.name), user.name.is_empty()),
            ("uid", json!(user.uid), user.uid.is_empty()),
            ("groups", json!(user.groups), user.groups.is_empty()),
            ("extra", json!(user.extra), user.extra.is_empty()),
        ];
        for (field, value, empty) in said {
            if empty {
                request.remove_at(&["spec", field]);
            } else {
                request.set_at(&["spec", field], value);
            }
        }
        Ok(())
    }
}
