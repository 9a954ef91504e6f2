//! Endpoints, the older form of endpoint slices.

use api::Object;
use api::field::ErrorList;

use crate::columns::service;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::{network, warnings};

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "endpoints", Endpoints)
        .short("ep")
        .deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        .stored_at("services/endpoints")
        .created_by_put()
        .printed(service::ENDPOINTS, service::endpoints)
}

struct Endpoints;

impl Logic for Endpoints {
    fn default(&self, object: &mut Object) {
        defaults::endpoints(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        network::endpoints(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("who serves may change from one moment to the next")
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::endpoints(object)
    }
}
