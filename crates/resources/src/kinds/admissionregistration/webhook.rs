//! Configurations of admission webhooks.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation;

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

    fn validate(&self, object: &Object) -> ErrorList {
        validation::webhook::configuration(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&validation::webhook::update)
    }
}

pub(in crate::kinds) fn validating() -> Kind {
    Kind::new("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", Webhooks)
        .category("api-extensions")
        .counts_changes()
        .updated_by_version()
        .columns(basic::WEBHOOKS)
}
