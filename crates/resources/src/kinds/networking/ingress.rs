//! Ingresses.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::service;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::ingress;
use crate::validation::warnings;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("networking.k8s.io/v1", "ingresses", Ingress)
        .short("ing")
        .stored_at("ingress")
        .counts_changes()
        .printed(service::INGRESS, service::ingress)
}

struct Ingress;

impl Logic for Ingress {
    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"loadBalancer": {}}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        ingress::ingress(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&ingress::ingress_update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        ingress::ingress_status_update(new, old)
    }

    fn warnings_on_create(&self, object: &Object) -> Vec<String> {
        warnings::ingress(object)
    }
}
