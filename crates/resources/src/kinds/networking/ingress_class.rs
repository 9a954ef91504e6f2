//! Classes of ingresses.

use api::Object;
use api::field::ErrorList;

use crate::columns::service;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::ingress;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("networking.k8s.io/v1", "ingressclasses", IngressClass)
        .counts_changes()
        .printed(service::INGRESS_CLASS, service::ingress_class)
}

struct IngressClass;

impl Logic for IngressClass {
    fn default(&self, object: &mut Object) {
        defaults::ingress_class(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        ingress::ingress_class(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&ingress::ingress_class_update)
    }
}
