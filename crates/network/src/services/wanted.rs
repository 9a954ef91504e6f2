//! What a Service and its slices ask of the proxy.
//!
//! Pure. Start with [`wanted`]. Which Services have a proxy, and what of each is used, is as upstream
//! (`pkg/proxy/serviceport.go`, `pkg/proxy/endpointslicecache.go`, `pkg/proxy/nftables/proxier.go`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

use super::address::{Endpoint, Front, Range};
use super::health::Health;
use super::topology::{Candidate, Chosen, Here, Uses, choose};
use super::way::{COUNT_LIMIT, List, Place, Treatment, Way};
use crate::protocol::Protocol;

/// A Service that another proxy serves.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";
const LOCAL: &str = "Local";
/// The API server's default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const STICKY_DEFAULT_S: i32 = 10_800;

/// What the proxy is to know of the machine.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub here: Here,
    /// Addresses of the machine.
    pub addresses: Vec<Ipv4Addr>,
    /// Cluster addresses that the node itself answers on: the proxy leaves them alone.
    pub answered: Vec<Ipv4Addr>,
}

/// What a port of a Service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The front that names the pool: the Service's cluster address.
    pub pool: Front,
    pub cluster: BTreeSet<Endpoint>,
    pub local: BTreeSet<Endpoint>,
    /// The addresses of pods on this machine among the endpoints, and of those that may be: a connection of such a pod
    /// to itself is masqueraded.
    pub here: BTreeSet<Ipv4Addr>,
    pub is_sticky: bool,
    pub fronts: Vec<(Front, Way)>,
    /// Who is let in, of the fronts that are guarded.
    pub sources: Vec<(Front, Range)>,
}

/// What the ports of a Service ask for.
pub fn wanted(service: &Service, slices: &[&EndpointSlice], machine: &Machine) -> Vec<Wanted> {
    let Some(spec) = service.spec.as_ref().filter(|spec| has_proxy(service, spec)) else { return Vec::new() };
    let Some(address) = cluster_address(spec).filter(|address| !machine.answered.contains(address)) else {
        return Vec::new();
    };
    let ports = spec.ports.iter().flatten();
    ports.filter_map(|port| of_port(service, spec, address, port, slices, machine)).collect()
}

/// What the health check port of a Service says: of load balancers whose clients are to stay on their node.
pub fn health(service: &Service, slices: &[&EndpointSlice], machine: &Machine) -> Option<Health> {
    let spec = service.spec.as_ref().filter(|spec| has_proxy(service, spec))?;
    let is_asked = spec.type_.as_deref() == Some("LoadBalancer")
        && spec.external_traffic_policy.as_deref() == Some(LOCAL)
        && cluster_address(spec).is_some();
    let port = spec.health_check_node_port.filter(|_| is_asked).and_then(|port| u16::try_from(port).ok())?;
    let ports = spec.ports.iter().flatten();
    let ready = ports.flat_map(|port| {
        let protocol = Protocol::named(port.protocol.as_deref());
        let found = protocol.map(|protocol| candidates(slices, port, protocol, &machine.here));
        found.into_iter().flatten().filter(|one| one.is_here && one.is_ready)
    });
    let ready: BTreeSet<Ipv4Addr> = ready.map(|one| one.endpoint.address).collect();
    (port > 0).then_some(Health { port, local: ready.len() })
}

fn has_proxy(service: &Service, spec: &ServiceSpec) -> bool {
    let is_of_other =
        service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(OTHER_PROXY_LABEL));
    !is_of_other && spec.type_.as_deref() != Some("ExternalName")
}

/// The Service's cluster address of IPv4.
fn cluster_address(spec: &ServiceSpec) -> Option<Ipv4Addr> {
    spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).find_map(|address| address.parse().ok())
}

fn of_port(
    service: &Service,
    spec: &ServiceSpec,
    address: Ipv4Addr,
    port: &ServicePort,
    slices: &[&EndpointSlice],
    machine: &Machine,
) -> Option<Wanted> {
    let protocol = Protocol::named(port.protocol.as_deref())?;
    let number = u16::try_from(port.port).ok()?;
    let outside = Outside::of(service, spec, port, protocol, number);
    let is_internal_local = spec.internal_traffic_policy.as_deref() == Some(LOCAL);
    let is_external_local = spec.external_traffic_policy.as_deref() == Some(LOCAL) && is_external(spec);
    let uses = Uses {
        cluster: !is_internal_local || !outside.is_empty(),
        local: is_internal_local || (is_external_local && !outside.is_empty()),
    };
    let candidates = candidates(slices, port, protocol, &machine.here);
    let mut chosen = choose(&candidates, uses, &machine.here);
    limit(&mut chosen.cluster);
    limit(&mut chosen.local);
    let sticky_s = sticky_s(spec);
    let (internal, external) = treatments(&chosen, is_internal_local, is_external_local);
    let way = |treatment: Treatment, place, is_guarded| match treatment {
        Treatment::Reject | Treatment::Drop => Way::nowhere(treatment),
        _ => Way { treatment, place, sticky_s, is_guarded },
    };
    let pool = Front { address, protocol, port: number };
    let ranges = ranges(spec, machine, &outside.balanced);
    let mut fronts = vec![(pool, way(internal, Place::Address, false))];
    fronts.extend(outside.external.iter().map(|front| (*front, way(external, Place::Address, false))));
    fronts.extend(
        outside.balanced.iter().map(|front| (*front, way(external, Place::Address, !ranges.is_empty()))),
    );
    fronts.extend(outside.node_port.map(|front| (front, way(external, Place::NodePort, false))));
    let balanced = outside.balanced.iter();
    let sources = balanced.flat_map(|front| ranges.iter().map(|range| (*front, *range))).collect();
    let Chosen { cluster, local, mut here, .. } = chosen;
    here.retain(|address| !machine.addresses.contains(address));
    let (cluster, local) = (
        if uses.cluster { cluster } else { BTreeSet::new() },
        if uses.local { local } else { BTreeSet::new() },
    );
    Some(Wanted { pool, cluster, local, here, is_sticky: sticky_s > 0, fronts, sources })
}

/// How clients inside and outside are treated.
fn treatments(chosen: &Chosen, is_internal_local: bool, is_external_local: bool) -> (Treatment, Treatment) {
    if !chosen.any {
        return (Treatment::Reject, Treatment::Reject);
    }
    let (cluster, local) = (count(&chosen.cluster), count(&chosen.local));
    let internal = match (is_internal_local, local) {
        (true, 0) => Treatment::Drop,
        (true, count) => Treatment::Internal { list: List::Local, count },
        (false, _) => Treatment::Internal { list: List::Cluster, count: cluster },
    };
    let external = match is_external_local {
        true => Treatment::ExternalLocal { cluster, local },
        false => Treatment::External { count: cluster },
    };
    (internal, external)
}

fn count(endpoints: &BTreeSet<Endpoint>) -> u32 {
    u32::try_from(endpoints.len()).unwrap_or(u32::MAX)
}

/// Leaves out what exceeds the number of endpoints that a way can have.
fn limit(endpoints: &mut BTreeSet<Endpoint>) {
    if let Some(first) = endpoints.iter().nth(COUNT_LIMIT).copied() {
        tracing::warn!(limit = COUNT_LIMIT, "a Service has more endpoints than are used");
        endpoints.split_off(&first);
    }
}

/// Whether clients outside the cluster may reach the Service.
fn is_external(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort" | "LoadBalancer") => true,
        _ => spec.external_ips.as_ref().is_some_and(|addresses| !addresses.is_empty()),
    }
}

/// 0: clients are not kept with an endpoint.
fn sticky_s(spec: &ServiceSpec) -> u32 {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return 0;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|client| client.timeout_seconds).unwrap_or(STICKY_DEFAULT_S);
    u32::try_from(seconds.clamp(1, 86_400)).unwrap_or(1)
}

/// Where clients outside reach a port.
struct Outside {
    external: Vec<Front>,
    balanced: Vec<Front>,
    node_port: Option<Front>,
}

impl Outside {
    fn of(
        service: &Service,
        spec: &ServiceSpec,
        port: &ServicePort,
        protocol: Protocol,
        number: u16,
    ) -> Self {
        let at = |address: Ipv4Addr, port: u16| Front { address, protocol, port };
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let entries = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
        // A balancer that passes connections on with the node's address as destination needs nothing here.
        let entries = entries.filter(|entry| entry.ip_mode.as_deref().is_none_or(|mode| mode == "VIP"));
        let node_port = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let external = spec.external_ips.iter().flatten().filter_map(|address| address.parse().ok());
        Self {
            external: external.map(|address| at(address, number)).collect(),
            balanced: entries
                .filter_map(|entry| entry.ip.as_deref()?.parse().ok())
                .map(|address| at(address, number))
                .collect(),
            node_port: node_port.map(|port| at(Ipv4Addr::UNSPECIFIED, port)),
        }
    }

    fn is_empty(&self) -> bool {
        self.external.is_empty() && self.balanced.is_empty() && self.node_port.is_none()
    }
}

/// Who is let in by a load balancer's addresses; empty: everybody.
fn ranges(spec: &ServiceSpec, machine: &Machine, balanced: &[Front]) -> Vec<Range> {
    let ranges = spec.load_balancer_source_ranges.iter().flatten();
    // Validation lets blanks around them pass.
    let nets = ranges.filter_map(|range| range.trim().parse::<Ipv4Net>().ok());
    let mut found: Vec<Range> = Ipv4Net::aggregate(&nets.collect()).into_iter().map(Range::from).collect();
    // The machine speaks to an address of its own from the same address.
    if machine.addresses.iter().any(|own| found.iter().any(|range| range.contains(*own))) {
        let own = balanced.iter().map(|front| Range { first: front.address, last: front.address });
        let missing: Vec<Range> =
            own.filter(|one| !found.iter().any(|range| range.contains(one.first))).collect();
        found.extend(missing);
    }
    found
}

/// The endpoints of a port, of all slices.
fn candidates(
    slices: &[&EndpointSlice],
    port: &ServicePort,
    protocol: Protocol,
    here: &Here,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let ports = slice.ports.iter().flatten();
        let same = |one: &&k8s_openapi::api::discovery::v1::EndpointPort| {
            one.name.as_deref().unwrap_or("") == port.name.as_deref().unwrap_or("")
                && Protocol::named(one.protocol.as_deref()) == Some(protocol)
        };
        for number in ports.filter(same).filter_map(|port| u16::try_from(port.port?).ok()) {
            let endpoints = slice.endpoints.iter().flatten();
            found.extend(endpoints.filter_map(|endpoint| candidate(endpoint, number, here)));
        }
    }
    found
}

fn candidate(endpoint: &SliceEndpoint, port: u16, here: &Here) -> Option<Candidate> {
    // Others stand for the same endpoint (EndpointSlice's documentation).
    let address = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions.as_ref();
    let is = |condition: Option<bool>, unsaid: bool| condition.unwrap_or(unsaid);
    let is_serving = is(conditions.and_then(|one| one.serving), true);
    let is_terminating = is(conditions.and_then(|one| one.terminating), false);
    let hints = endpoint.hints.as_ref();
    let zones = hints.and_then(|hints| hints.for_zones.as_ref()).into_iter().flatten();
    let nodes = hints.and_then(|hints| hints.for_nodes.as_ref()).into_iter().flatten();
    Some(Candidate {
        endpoint: Endpoint { address, port },
        is_ready: is(conditions.and_then(|one| one.ready), true),
        is_leaving: is_serving && is_terminating,
        is_here: endpoint.node_name.as_ref() == Some(&here.node),
        is_anywhere: endpoint.node_name.is_none(),
        nodes: nodes.map(|node| node.name.clone()).collect(),
        zones: zones.map(|zone| zone.name.clone()).collect(),
    })
}
