//! Slices of the endpoints of a service.

use api::Object;
use api::field::ErrorList;

use crate::columns::service;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::row::Immutable;
use crate::validation::IMMUTABLE;
use crate::validation::{network, warnings};

pub(super) fn endpoint_slice() -> Kind {
    Kind::new("discovery.k8s.io/v1", "endpointslices", EndpointSlice)
        .counts_changes()
        .immutable(Immutable::invalid(&["addressType"], IMMUTABLE))
        .printed(service::ENDPOINT_SLICE, service::endpoint_slice)
}

struct EndpointSlice;

impl Logic for EndpointSlice {
    fn default(&self, object: &mut Object) {
        defaults::endpoint_slice(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        network::endpoint_slice(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::endpoint_slice(object)
    }
}
