//! Which addresses a Service can have.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use informer::{Cached, Key};
use k8s_openapi::api::core::v1::{Node, Service};

use super::{
    EXCLUDED, LoadBalancerController, Pool, ReservedPorts, Source, addresses, asked, holder, ingress, ports,
    seniority,
};
use crate::node_view::{NodeView, node_view};
use crate::service_endpoints::member::{self, Family};

/// The addresses that a Service can have, or why it gets none.
pub(super) type Offer = Result<Vec<IpAddr>, Refusal>;

/// Why a Service gets no address: an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub reason: &'static str,
    pub message: String,
}

/// The message of upstream's controller.
pub(super) fn not_synced(why: &str) -> String {
    format!("Error syncing load balancer: {why}")
}

/// Whether the node takes traffic for Services, and is ready to.
pub(super) fn is_offered(node: &Cached<Node>) -> (bool, bool) {
    let takes = node.label(EXCLUDED).is_none() && !node.is_being_deleted();
    (takes, &*node_view(node).ready == "True")
}

impl LoadBalancerController {
    pub(super) fn offer(&self, service: &Service) -> Offer {
        match &self.source {
            Source::Nodes(reserved) => self.of_nodes(service, reserved).map_err(|why| Refusal {
                reason: "SyncLoadBalancerFailed",
                message: not_synced(&format!("failed to ensure load balancer: {why}")),
            }),
            Source::Pool(pool) => {
                self.of_pool(service, pool).map(|address| vec![address.into()]).map_err(|why| Refusal {
                    reason: "AllocationFailed",
                    message: format!("Failed to allocate IP for \"{}\": {why}", Key::of(service)),
                })
            }
        }
    }

    fn of_nodes(&self, service: &Service, reserved: &ReservedPorts) -> Result<Vec<IpAddr>, String> {
        self.conflict(service, reserved).map_or(Ok(()), Err)?;
        let nodes = self.nodes.scan("a Service gets the addresses of all nodes");
        let nodes: Vec<_> = nodes.iter().filter(|node| is_offered(node).0).collect();
        let (ready, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| is_offered(node).1);
        // Where no node is ready, an address is as good as another, and taking it away helps nobody.
        let nodes = if ready.is_empty() { others } else { ready };
        let families = service.spec.as_ref().map(member::families).unwrap_or_default();
        let ips = nodes.iter().flat_map(|node| {
            let view: Arc<NodeView> = node_view(node);
            view.internal_ips.to_vec()
        });
        let mut ips: Vec<IpAddr> = ips.filter(|ip| families.contains(&Family::of(*ip))).collect();
        ips.sort();
        ips.dedup();
        match asked(service) {
            None => Ok(ips),
            Some(asked) => match ips.into_iter().find(|ip| asked.parse() == Ok(*ip)) {
                Some(ip) => Ok(vec![ip]),
                None => Err(format!("the address {asked} is none of a node")),
            },
        }
    }

    /// Why the Service cannot have its ports.
    fn conflict(&self, service: &Service, reserved: &ReservedPorts) -> Option<String> {
        let own = Key::of(service);
        ports(service).into_iter().find_map(|port| {
            if reserved.iter().any(|reserved| port == format!("{reserved}/TCP")) {
                return Some(format!("port {port} of the nodes is a cluster's own"));
            }
            let rivals = self.wanting.get(&port);
            let rival = rivals.iter().filter(|rival| rival.key != own).find(|rival| {
                rival.typed().is_some_and(|rival| {
                    let both = !ingress(service).is_empty();
                    !ingress(rival).is_empty() && (!both || seniority(rival) < seniority(service))
                })
            })?;
            Some(format!("port {port} of the nodes is taken by Service {}", rival.key))
        })
    }

    /// The Service's address of the pool: the one that it asks for, or has, or else the first that is free.
    fn of_pool(&self, service: &Service, pool: &Pool) -> Result<Ipv4Addr, String> {
        let families = service.spec.as_ref().map(member::families).unwrap_or_default();
        if !families.contains(&Family::IPv4) {
            return Err("the pool has no addresses of IPv6".to_owned());
        }
        let nodes = self.nodes.scan("the pool may name addresses that are nodes' own");
        let nodes: BTreeSet<IpAddr> =
            nodes.iter().flat_map(|node| node_view(node).internal_ips.to_vec()).collect();
        let user = |address: Ipv4Addr| match nodes.contains(&IpAddr::V4(address)) {
            true => Some("a node".to_owned()),
            false => self.rival(service, address).map(|rival| format!("Service {rival}")),
        };
        if let Some(asked) = asked(service) {
            let address = asked.parse().ok().filter(|address| pool.contains(*address));
            let address = address.ok_or_else(|| format!("{asked:?} is not an address of the pool"))?;
            return match user(address) {
                Some(user) => Err(format!("the address {address} is in use by {user}")),
                None => Ok(address),
            };
        }
        let had = addresses(service).find(|address| pool.contains(*address) && user(*address).is_none());
        let free = || pool.addresses().find(|address| user(*address).is_none());
        had.or_else(free).ok_or_else(|| "no available IPs in the pool".to_owned())
    }

    /// The Service that has the address; of two that have it, the older one.
    fn rival(&self, service: &Service, address: Ipv4Addr) -> Option<Key> {
        let own = Key::of(service);
        let both = addresses(service).any(|had| had == address);
        let rivals = self.wanting.get(&holder(address));
        let rival = rivals.iter().filter(|rival| rival.key != own).find(|rival| {
            rival.typed().is_some_and(|rival| !both || seniority(rival) < seniority(service))
        })?;
        Some(rival.key.clone())
    }
}
