//! A slice as an object: made anew for a Service, or changed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kube::core::ObjectMeta;

use crate::service_endpoints::HEADLESS;
use crate::service_endpoints::TRIGGER_TIME;
use crate::service_endpoints::member::{self, Family};
use crate::service_endpoints::slices::{MANAGED_BY, SERVICE_NAME, name_prefix};
use crate::target::controller_reference;

/// The name by which this controller marks its slices.
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";

/// The Service's labels and those of all its slices, which the Service cannot set.
pub(super) fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service.spec.as_ref().is_none_or(member::is_headless) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// A slice that is to be made.
pub(super) fn fresh(
    service: &Service,
    family: Family,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(service.metadata.name.as_deref().unwrap_or(""))),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.name().to_owned(),
        ports: Some(ports.to_vec()),
        endpoints: Some(endpoints),
    }
}

/// An existing slice with other endpoints.
pub(super) fn changed(slice: &EndpointSlice, service: &Service, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut slice = slice.clone();
    slice.metadata.labels = Some(labels(service));
    slice.endpoints = Some(endpoints);
    slice
}

/// Has an existing slice of the same family hold what `fresh` was to hold.
pub(super) fn recycled(old: &EndpointSlice, fresh: EndpointSlice) -> EndpointSlice {
    let metadata = ObjectMeta { labels: fresh.metadata.labels, ..old.metadata.clone() };
    EndpointSlice { metadata, ..fresh }
}

/// Whether the slice is one of this very Service, not of an earlier one of the name.
pub(super) fn is_owned_by(slice: &EndpointSlice, service: &Service) -> bool {
    let owners = slice.metadata.owner_references.iter().flatten();
    let uid = service.metadata.uid.as_deref().unwrap_or("");
    owners.filter(|owner| owner.kind == "Service" && owner.api_version == "v1").any(|owner| owner.uid == uid)
}

/// Notes when the change happened that the slice shows; `None` where no time is known.
pub(super) fn note_trigger(slice: &mut EndpointSlice, trigger: Option<jiff::Timestamp>) {
    let annotations = slice.metadata.annotations.get_or_insert_default();
    match trigger {
        Some(trigger) => drop(annotations.insert(TRIGGER_TIME.to_owned(), trigger.to_string())),
        None => drop(annotations.remove(TRIGGER_TIME)),
    }
    if annotations.is_empty() {
        slice.metadata.annotations = None;
    }
}
