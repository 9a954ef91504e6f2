//! Which endpoints a Service has in one family, in groups of equal ports.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

use super::{hints, topology};
use crate::replicas::pod::Replica;
use crate::service_endpoints::member::{self, Family};
use crate::service_endpoints::slices::PortSet;

/// A pod that may be an endpoint.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub pod: Replica,
    pub node: Node,
}

/// What is known of a pod's node.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Missing,
    Known { zone: Option<String> },
}

/// What stays the same of an endpoint while its conditions change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    namespace: String,
    name: String,
    addresses: Vec<String>,
    hostname: String,
}

impl Identity {
    pub fn of(endpoint: &Endpoint) -> Self {
        let (namespace, name) = match &endpoint.target_ref {
            Some(target) => (target.namespace.clone(), target.name.clone()),
            None => (None, None),
        };
        let mut addresses = endpoint.addresses.clone();
        addresses.sort();
        Self {
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
            addresses,
            hostname: endpoint.hostname.clone().unwrap_or_default(),
        }
    }
}

/// The endpoints that have the same ports.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub ports: Vec<EndpointPort>,
    pub endpoints: BTreeMap<Identity, Endpoint>,
}

/// Whether the pod is left out for its node: where a Service publishes what is not ready, the pod counts without.
pub(super) fn is_left_out(candidate: &Candidate, spec: &ServiceSpec) -> bool {
    matches!(candidate.node, Node::Missing) && spec.publish_not_ready_addresses != Some(true)
}

pub(super) fn groups(
    service: &Service,
    spec: &ServiceSpec,
    candidates: &[Candidate],
    family: Family,
) -> BTreeMap<PortSet, Group> {
    let mut groups: BTreeMap<PortSet, Group> = BTreeMap::new();
    for candidate in candidates {
        let ports = ports(spec, &candidate.pod);
        let group = groups.entry(PortSet::of(&ports)).or_insert_with(|| Group { ports, ..Group::default() });
        if is_left_out(candidate, spec) {
            continue;
        }
        if let Some(endpoint) = endpoint(service, spec, candidate, family) {
            group.endpoints.insert(Identity::of(&endpoint), endpoint);
        }
    }
    groups
}

/// The ports under which a pod answers for the Service, in the Service's order.
fn ports(spec: &ServiceSpec, pod: &Replica) -> Vec<EndpointPort> {
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(member::target_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

/// The pod's endpoint; `None` where the pod has no address of the family.
fn endpoint(
    service: &Service,
    spec: &ServiceSpec,
    candidate: &Candidate,
    family: Family,
) -> Option<Endpoint> {
    let Candidate { pod, node } = candidate;
    let ips = pod.facts.ips.iter().filter(|ip| Family::of(**ip) == family);
    let addresses: Vec<String> = ips.map(ToString::to_string).collect();
    if addresses.is_empty() {
        return None;
    }
    let (serving, terminating) = (pod.facts.ready, pod.is_being_deleted());
    let ready = spec.publish_not_ready_addresses == Some(true) || (serving && !terminating);
    let zone = match node {
        Node::Known { zone } => zone.clone(),
        Node::Missing => None,
    };
    let node_name = Some(pod.facts.node_name.to_string()).filter(|name| !name.is_empty());
    Some(Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: hints::of(spec, ready, zone.as_deref(), node_name.as_deref())
            .filter(|_| !topology::is_asked_for(service)),
        hostname: member::hostname(pod, service.metadata.name.as_deref().unwrap_or("")),
        node_name,
        target_ref: Some(member::reference(pod)),
        zone,
        deprecated_topology: None,
    })
}
