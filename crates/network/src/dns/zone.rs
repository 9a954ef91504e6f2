//! The answers for the cluster's own names.
//!
//! Pure: a name and a record type against the view of Services and their endpoints. The rules are those of
//! the Kubernetes DNS-based service discovery specification 1.1.0, with pod names by address as CoreDNS
//! serves them (`pods insecure`). Makes no request to any server.

use std::net::{IpAddr, Ipv4Addr};

use hickory_server::proto::ProtoError;
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use informer::{Cache, Index};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// How long answers may be kept, in seconds, as a new cluster's CoreDNS says.
const TTL_S: u32 = 30;
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// On the slices of headless Services, whatever its value.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// Addresses that go along with an answer, at most.
const ADDITIONAL: usize = 32;

/// The watches answers are made from.
#[derive(Clone)]
pub struct View {
    pub services: Cache<Service>,
    pub slices: Cache<EndpointSlice>,
}

/// The zone's answer to a question.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Records(Vec<Record>),
    /// Another name stands for this one.
    Alias(Name),
    /// The name exists, without records of this type.
    NoData,
    NoName,
    /// The name is not the cluster's.
    Elsewhere,
}

/// The cluster's names: its domain, and the reverse names of its ranges.
pub struct Zone {
    domain: Name,
    ranges: Vec<IpNet>,
    view: View,
    slices_of: Index<EndpointSlice>,
    by_address: Index<Service>,
    /// The slices of headless Services by their endpoints' addresses. All others would only take memory: an endpoint
    /// behind a cluster IP has no name of its own.
    headless_by_address: Index<EndpointSlice>,
}

impl Zone {
    pub fn new(domain: &str, ranges: Vec<IpNet>, view: View) -> Result<Self, ProtoError> {
        let mut domain = Name::from_ascii(domain)?.to_lowercase();
        domain.set_fqdn(true);
        let slices_of = view.slices.index("service", |slice, found| {
            if let Some(name) = slice.label(SERVICE_NAME_LABEL) {
                found(&of_service(slice.namespace(), name));
            }
        });
        let by_address = view.services.index("cluster-ip", |service, found| {
            for address in service.typed().map(|service| cluster_ips(service)).unwrap_or_default() {
                found(&address.to_string());
            }
        });
        let headless_by_address = view.slices.index("headless-address", |slice, found| {
            let slice = slice.typed().filter(|_| slice.label(HEADLESS_LABEL).is_some());
            for endpoint in slice.iter().flat_map(|slice| slice.endpoints.iter().flatten()) {
                endpoint.addresses.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).for_each(|ip| {
                    found(&ip.to_string());
                });
            }
        });
        Ok(Self { domain, ranges, view, slices_of, by_address, headless_by_address })
    }

    /// How often what answers are made from has changed.
    pub fn changes(&self) -> (u64, u64) {
        (self.view.services.changes(), self.view.slices.changes())
    }

    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// The zone's own record, which says how long a missing name may be remembered.
    pub fn soa(&self) -> Record {
        let below = |label: &str| self.domain.prepend_label(label).unwrap_or_else(|_| self.domain.clone());
        let soa = SOA::new(below("ns.dns"), below("hostmaster"), 1, 7200, 1800, 86_400, TTL_S);
        Record::from_rdata(self.domain.clone(), TTL_S, RData::SOA(soa))
    }

    /// Whether the name is below the one that all pods' names by address are below.
    pub fn is_of_pods(&self, name: &Name) -> bool {
        self.domain.prepend_label("pod").is_ok_and(|pods| pods.zone_of(name))
    }

    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        match self.own(name, kind) {
            // Another name of this zone: nobody else could say what it is. One step only: aliases may be a ring.
            Answer::Alias(target) if self.domain.zone_of(&target) => {
                let mut records = vec![alias(name, target.clone())];
                if kind != RecordType::CNAME
                    && let Answer::Records(found) = self.own(&target, kind)
                {
                    records.extend(found);
                }
                Answer::Records(records)
            }
            other => other,
        }
    }

    /// The addresses of the names that `answers` send a client to (RFC 2782), so that it need not ask again.
    pub fn additional(&self, answers: &[Record]) -> Vec<Record> {
        let mut targets: Vec<&Name> = Vec::new();
        for answer in answers {
            if let RData::SRV(srv) = &answer.data
                && !targets.contains(&&srv.target)
            {
                targets.push(&srv.target);
            }
        }
        let asked = targets.iter().flat_map(|target| [(target, RecordType::A), (target, RecordType::AAAA)]);
        let found = asked.flat_map(|(target, kind)| match self.own(target, kind) {
            Answer::Records(records) => records,
            _ => Vec::new(),
        });
        found.take(ADDITIONAL).collect()
    }

    fn own(&self, name: &Name, kind: RecordType) -> Answer {
        if let Ok(net) = name.parse_arpa_name() {
            return self.reverse(name, net.addr(), kind);
        }
        if !self.domain.zone_of(name) {
            return Answer::Elsewhere;
        }
        let depth = usize::from(name.num_labels()) - usize::from(self.domain.num_labels());
        let labels: Option<Vec<String>> = name
            .iter()
            .take(depth)
            .map(|label| Some(std::str::from_utf8(label).ok()?.to_ascii_lowercase()))
            .collect();
        let Some(labels) = labels else { return Answer::NoName };
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] if kind == RecordType::SOA => Answer::Records(vec![self.soa()]),
            [] | ["svc" | "pod"] => Answer::NoData,
            ["dns-version"] => {
                let version = RData::TXT(TXT::new(vec!["1.1.0".to_owned()]));
                of_type(name, kind, vec![version])
            }
            [namespace, "svc"] => self.namespace(namespace),
            [service, namespace, "svc"] => self.service(name, kind, service, namespace),
            [port, protocol, service, namespace, "svc"] => {
                self.port(name, kind, (port, protocol), service, namespace)
            }
            [host, service, namespace, "svc"] => self.host(name, kind, host, service, namespace),
            [address, _namespace, "pod"] => match pod_address(address) {
                Some(ip) => of_type(name, kind, vec![address_data(ip)]),
                None => Answer::NoName,
            },
            _ => Answer::NoName,
        }
    }

    /// A namespace's name exists as long as a Service is in it.
    fn namespace(&self, namespace: &str) -> Answer {
        match self.view.services.any_in(namespace) {
            true => Answer::NoData,
            false => Answer::NoName,
        }
    }

    fn service(&self, name: &Name, kind: RecordType, service: &str, namespace: &str) -> Answer {
        let Some(service) = self.view.services.get(namespace, service) else { return Answer::NoName };
        if let Some(target) = external_name(&service) {
            return match Name::from_utf8(target) {
                Ok(mut target) => {
                    target.set_fqdn(true);
                    Answer::Alias(target)
                }
                Err(_) => Answer::NoData,
            };
        }
        let addresses = match is_headless(&service) {
            false => cluster_ips(&service),
            true => {
                let found = self.endpoints(&service).into_iter().flat_map(|(_, _, ips)| ips).collect();
                if Vec::is_empty(&found) {
                    return Answer::NoName;
                }
                found
            }
        };
        let mut data: Vec<RData> = addresses.into_iter().map(address_data).collect();
        if kind == RecordType::SRV {
            data = self.ports(&service, None);
        }
        of_type(name, kind, data)
    }

    /// `_port._protocol.service`: where a named port is.
    fn port(
        &self,
        name: &Name,
        kind: RecordType,
        (port, protocol): (&str, &str),
        service: &str,
        namespace: &str,
    ) -> Answer {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
            return Answer::NoName;
        };
        let Some(service) = self.view.services.get(namespace, service) else { return Answer::NoName };
        match self.ports(&service, Some((port, protocol))) {
            none if none.is_empty() => Answer::NoName,
            found => of_type(name, kind, found),
        }
    }

    /// An endpoint of a headless Service by its host name.
    fn host(&self, name: &Name, kind: RecordType, host: &str, service: &str, namespace: &str) -> Answer {
        let service = self.view.services.get(namespace, service);
        let Some(service) = service.filter(|s| is_headless(s)) else { return Answer::NoName };
        let here = self.endpoints(&service).into_iter().filter(|(label, ..)| label == host);
        let data: Vec<RData> = here.flat_map(|(_, _, ips)| ips).map(address_data).collect();
        if data.is_empty() { Answer::NoName } else { of_type(name, kind, data) }
    }

    /// The ports of a Service as SRV data: all, or the one with this name and protocol.
    fn ports(&self, service: &Service, wanted: Option<(&str, &str)>) -> Vec<RData> {
        let is_wanted = |name: Option<&str>, protocol: Option<&str>| match wanted {
            Some((port, by)) => name == Some(port) && protocol.unwrap_or("TCP").eq_ignore_ascii_case(by),
            None => name.is_some(),
        };
        let Some(target) = self.service_name(service) else { return Vec::new() };
        let srv = |port: u16, target: Name| RData::SRV(SRV::new(0, 100, port, target));
        if !is_headless(service) {
            let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            return ports
                .filter(|port| is_wanted(port.name.as_deref(), port.protocol.as_deref()))
                .filter_map(|port| Some(srv(u16::try_from(port.port).ok()?, target.clone())))
                .collect();
        }
        let mut found = Vec::new();
        for (label, slice, _) in self.endpoints(service) {
            let Ok(target) = target.prepend_label(label.as_str()) else { continue };
            let ports = slice.ports.iter().flatten();
            let ports = ports.filter(|port| is_wanted(port.name.as_deref(), port.protocol.as_deref()));
            let numbers = ports.filter_map(|port| u16::try_from(port.port?).ok());
            found.extend(numbers.map(|number| srv(number, target.clone())));
        }
        found
    }

    /// The endpoints that take traffic, each with the label it has below its Service.
    fn endpoints(&self, service: &Service) -> Vec<(String, std::sync::Arc<EndpointSlice>, Vec<IpAddr>)> {
        let namespace = service.metadata.namespace.as_deref().unwrap_or("");
        let name = service.metadata.name.as_deref().unwrap_or("");
        let slices = self.slices_of.get(&of_service(namespace, name));
        let slices = slices.iter().filter_map(|slice| slice.typed().cloned());
        let unready = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
        let mut found = Vec::new();
        for slice in slices {
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| unready || is_ready(endpoint))
            {
                let ips: Vec<IpAddr> = endpoint.addresses.iter().filter_map(|ip| ip.parse().ok()).collect();
                if let Some(label) = host_label(endpoint, &ips) {
                    found.push((label, slice.clone(), ips));
                }
            }
        }
        found
    }

    fn reverse(&self, name: &Name, address: IpAddr, kind: RecordType) -> Answer {
        let owner = self.by_address.get(&address.to_string()).into_iter().next();
        let targets = match owner.and_then(|service| self.service_name(service.typed()?)) {
            Some(service) => vec![service],
            None => self.headless_names(address),
        };
        if !targets.is_empty() {
            return of_type(name, kind, targets.into_iter().map(|target| RData::PTR(PTR(target))).collect());
        }
        match self.ranges.iter().any(|range| range.contains(&address)) {
            true => Answer::NoName,
            false => Answer::Elsewhere,
        }
    }

    /// The names that the endpoints with this address have below headless Services.
    fn headless_names(&self, address: IpAddr) -> Vec<Name> {
        let mut names = Vec::new();
        for slice in self.headless_by_address.get(&address.to_string()) {
            let service = slice.label(SERVICE_NAME_LABEL);
            let service = service.and_then(|name| self.view.services.get(slice.namespace(), name));
            let Some(service) = service.filter(|service| is_headless(service)) else { continue };
            let here = self.endpoints(&service).into_iter().filter(|(.., ips)| ips.contains(&address));
            let below = self.service_name(&service);
            let found = here.filter_map(|(label, ..)| below.as_ref()?.prepend_label(label.as_str()).ok());
            names.extend(found);
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    fn service_name(&self, service: &Service) -> Option<Name> {
        let below_svc = self.domain.prepend_label("svc").ok()?;
        let in_namespace = below_svc.prepend_label(service.metadata.namespace.as_deref()?).ok()?;
        in_namespace.prepend_label(service.metadata.name.as_deref()?).ok()
    }
}

/// The value under which the slices of a Service are found.
fn of_service(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// The record that says that `target` stands for `name`.
pub(super) fn alias(name: &Name, target: Name) -> Record {
    Record::from_rdata(name.clone(), TTL_S, RData::CNAME(CNAME(target)))
}

/// The records of the wanted type; that there are others means that the name exists.
fn of_type(name: &Name, kind: RecordType, data: Vec<RData>) -> Answer {
    let wanted = data.into_iter().filter(|d| kind == RecordType::ANY || d.record_type() == kind);
    let records: Vec<Record> = wanted.map(|d| Record::from_rdata(name.clone(), TTL_S, d)).collect();
    if records.is_empty() { Answer::NoData } else { Answer::Records(records) }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// `10-244-0-7`, or an IPv6 address with `-` for `:`.
fn pod_address(label: &str) -> Option<IpAddr> {
    label
        .replace('-', ".")
        .parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .or_else(|_| label.replace('-', ":").parse())
        .ok()
}

fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("ExternalName"))?;
    spec.external_name.as_deref()
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let mut found: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// An endpoint whose readiness is not said is ready (EndpointConditions.ready).
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

/// The name of an endpoint: its host name, else its address.
fn host_label(endpoint: &Endpoint, ips: &[IpAddr]) -> Option<String> {
    match endpoint.hostname.as_deref() {
        Some(name) if !name.is_empty() => Some(name.to_owned()),
        _ => ips.first().map(|ip| ip.to_string().replace(['.', ':'], "-")),
    }
}

#[cfg(test)]
#[path = "zone/tests.rs"]
mod tests;
