//! A pod as an endpoint of a Service: whether it is one, and under which address, port and name.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ObjectReference, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::replicas::pod::Replica;

/// The family of an address, which is also the address type of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    IPv4,
    IPv6,
}

impl Family {
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::IPv4 } else { Self::IPv6 }
    }

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(Self::IPv4),
            "IPv6" => Some(Self::IPv6),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
}

/// Whether the Service's endpoints are made of pods that it selects.
pub(crate) fn is_served_by_pods(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() != Some("ExternalName") && spec.selector.as_ref().is_some_and(|s| !s.is_empty())
}

/// Whether the Service has no address of its own.
pub(crate) fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(spec.cluster_ip.as_deref(), None | Some("" | "None"))
}

/// The families of the Service's addresses, in its order. One that a Service without them may have is both.
pub(crate) fn families(spec: &ServiceSpec) -> Vec<Family> {
    let named: Vec<Family> =
        spec.ip_families.iter().flatten().filter_map(|name| Family::parse(name)).collect();
    if !named.is_empty() {
        return named;
    }
    match spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) {
        Some(ip) => vec![Family::of(ip)],
        None => vec![Family::IPv4, Family::IPv6],
    }
}

/// Whether a pod has an address under which a container may answer.
pub(crate) fn may_answer(pod: &Replica) -> bool {
    !pod.facts.is_terminal() && !pod.facts.ips.is_empty()
}

/// The number of the pod's port that a Service's port leads to; `None` where the pod has none of that name.
pub(crate) fn target_port(pod: &Replica, port: &ServicePort) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let named = pod.facts.named_ports.iter();
            named
                .filter(|named| *named.name == **name && *named.protocol == *protocol)
                .map(|p| p.number)
                .next()
        }
    }
}

/// The name that the pod has below the Service's.
pub(crate) fn hostname(pod: &Replica, service: &str) -> Option<String> {
    let facts = &pod.facts;
    (!facts.hostname.is_empty() && *facts.subdomain == *service).then(|| facts.hostname.to_string())
}

pub(crate) fn reference(pod: &Replica) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace().to_owned()),
        name: Some(pod.name().to_owned()),
        uid: Some(pod.uid.to_string()),
        ..ObjectReference::default()
    }
}
