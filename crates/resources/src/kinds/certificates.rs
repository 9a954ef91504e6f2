//! Requests for certificates: what was asked for cannot be changed, only answered.

use api::Object;
use serde_json::json;

use crate::columns::policy;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::PartHandler;
use crate::status;

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

    fn changes(&self) -> Changes<'_> {
        Changes::Any("the spec stays as it was whatever an update says")
    }
}
