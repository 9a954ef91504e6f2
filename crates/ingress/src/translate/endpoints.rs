//! [`Offer`]: the addresses behind a port of a Service, and how they are spoken to.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::backend::{Port, ServiceBackend, Wire};

/// The addresses behind a backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    pub wire: Wire,
    pub endpoints: BTreeSet<SocketAddr>,
    /// Why there are none.
    pub lack: Option<Lack>,
}

/// Why a backend has no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    Service,
    Port,
    /// The Service is another name for a host that may be anywhere.
    External,
    /// The Service has no endpoint that is ready.
    Ready,
    /// What is named is no Service.
    Resource,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "the Service does not exist",
            Self::Port => "the Service has no such TCP port",
            Self::External => "Services of type ExternalName are not served",
            Self::Ready => "the Service has no endpoint that is ready",
            Self::Resource => "backends that are no Service are not served",
        })
    }
}

/// The port of the Service that a backend names, or why there is none.
///
/// # Errors
/// What the Service lacks.
pub fn port<'s>(backend: &ServiceBackend, service: Option<&'s Service>) -> Result<&'s ServicePort, Lack> {
    let spec = service.and_then(|service| service.spec.as_ref()).ok_or(Lack::Service)?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(Lack::External);
    }
    let is_named = |port: &&ServicePort| match &backend.port {
        Port::Number(number) => port.port == *number,
        Port::Name(name) => port.name.as_deref() == Some(name),
    };
    let is_tcp = |port: &&ServicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    spec.ports.iter().flatten().filter(is_tcp).find(is_named).ok_or(Lack::Port)
}

/// The endpoints of a backend: the ready ones; where none is, those that end and still serve.
pub fn offer<'s>(
    backend: &ServiceBackend,
    service: Option<&Service>,
    slices: impl Iterator<Item = &'s EndpointSlice> + Clone,
) -> Offer {
    let port = match port(backend, service) {
        Ok(port) => port,
        Err(lack) => return Offer { lack: Some(lack), ..Offer::default() },
    };
    let wire = backend.wire.unwrap_or_else(|| Wire::of_app_protocol(port.app_protocol.as_deref()));
    let families =
        service.and_then(|service| service.spec.as_ref()).and_then(|spec| spec.ip_families.as_ref());
    let family = families.and_then(|families| families.first()).map_or("IPv4", String::as_str);
    let slices = slices.filter(|slice| slice.address_type == family);
    let found = |takes: fn(&Endpoint) -> bool| -> BTreeSet<SocketAddr> {
        slices.clone().flat_map(|slice| addresses(slice, port, takes)).collect()
    };
    let mut endpoints = found(is_ready);
    if endpoints.is_empty() {
        endpoints = found(is_leaving);
    }
    let lack = endpoints.is_empty().then_some(Lack::Ready);
    Offer { wire, endpoints, lack }
}

fn addresses(
    slice: &EndpointSlice,
    port: &ServicePort,
    takes: fn(&Endpoint) -> bool,
) -> impl Iterator<Item = SocketAddr> {
    let name = port.name.as_deref().unwrap_or("");
    let numbers = slice.ports.iter().flatten().filter(move |one| {
        one.name.as_deref().unwrap_or("") == name && one.protocol.as_deref().unwrap_or("TCP") == "TCP"
    });
    let numbers = numbers.filter_map(|one| u16::try_from(one.port?).ok());
    numbers.flat_map(move |number| {
        let endpoints = slice.endpoints.iter().flatten().filter(move |endpoint| takes(endpoint));
        // Others stand for the same endpoint (EndpointSlice's documentation).
        let addresses = endpoints.filter_map(|endpoint| endpoint.addresses.first()?.parse::<IpAddr>().ok());
        addresses.map(move |address| SocketAddr::new(address, number))
    })
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn is_leaving(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|one| one.serving).unwrap_or(true)
        && conditions.and_then(|one| one.terminating).unwrap_or(false)
}
