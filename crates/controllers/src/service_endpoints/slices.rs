//! [`Slices`]: the slices of a Service by the controller that manages them, and what all such slices have.

use std::sync::Arc;

use informer::{Cache, Cached, Delta, Index, Key};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use crate::orphans::labelled;

/// The Service that a slice belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The controller that writes a slice.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Slices by the controller that manages them and the Service they belong to.
pub(crate) struct Slices(Index<EndpointSlice>);

impl Slices {
    pub fn new(slices: &Cache<EndpointSlice>) -> Self {
        Self(slices.index("managed", |slice, found| {
            if let (Some(manager), Some(service)) = (slice.label(MANAGED_BY), slice.label(SERVICE_NAME)) {
                found(&labelled(slice.namespace(), manager, service));
            }
        }))
    }

    /// The Service's slices that `manager` manages and nobody deletes, in the order of their names.
    pub fn of(&self, service: &Key, manager: &str) -> Vec<Arc<EndpointSlice>> {
        let slices = self.0.get(&labelled(&service.namespace, manager, &service.name));
        let staying = slices.iter().filter(|slice| !slice.is_being_deleted());
        staying.filter_map(|slice| slice.typed().cloned()).collect()
    }
}

/// The Services whose slices of `manager` a slice's change concerns.
pub(crate) fn concerned(delta: &Delta<EndpointSlice>, manager: &str) -> Vec<Key> {
    let states = std::iter::once(delta.object()).chain(delta.old());
    let managed = states.filter(|slice| slice.label(MANAGED_BY) == Some(manager));
    let mut keys: Vec<Key> = managed.filter_map(service_of).collect();
    keys.dedup();
    keys
}

fn service_of(slice: &Cached<EndpointSlice>) -> Option<Key> {
    let name = slice.label(SERVICE_NAME).filter(|name| !name.is_empty())?;
    Some(Key { namespace: slice.key.namespace.clone(), name: name.into() })
}

pub(crate) fn endpoints(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

/// The beginning of the name of a slice that belongs to `service`.
pub(crate) fn name_prefix(service: &str) -> String {
    let prefix = format!("{service}-");
    let faults = api::names::object_name(api::names::dns1123_subdomain, &prefix, true);
    if faults.is_empty() { prefix } else { service.to_owned() }
}

/// Ports without regard to their order: what all endpoints of one slice have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortSet(Vec<(String, String, Option<i32>, Option<String>)>);

impl PortSet {
    pub fn of(ports: &[EndpointPort]) -> Self {
        let key = |port: &EndpointPort| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            (port.name.clone().unwrap_or_default(), protocol, port.port, port.app_protocol.clone())
        };
        let mut ports: Vec<_> = ports.iter().map(key).collect();
        ports.sort();
        Self(ports)
    }
}
