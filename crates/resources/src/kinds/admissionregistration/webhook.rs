//! Configurations of admission webhooks.

use api::Object;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};

pub(in crate::kinds) fn mutating() -> Kind {
    Kind::new("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", Webhooks)
        .category("api-extensions")
        .counts_changes()
        .updated_by_version()
        .columns(basic::WEBHOOKS)
}

struct Webhooks;

impl Logic for Webhooks {
    fn default(&self, object: &mut Object) {
        defaults::webhooks(object);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("webhooks are asked only about requests that come later")
    }
}

pub(in crate::kinds) fn validating() -> Kind {
    Kind::new("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", Webhooks)
        .category("api-extensions")
        .counts_changes()
        .updated_by_version()
        .columns(basic::WEBHOOKS)
}
