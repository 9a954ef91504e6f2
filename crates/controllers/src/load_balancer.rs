//! Gives Services of type LoadBalancer the nodes' own addresses: every node sends on what comes for such an address and
//! port. Upstream's part: `k8s.io/cloud-provider/controllers/service`, which asks a cloud for an address.
//!
//! The nodes' addresses are shared, so a port of them belongs to one Service: the others wait until it is free. A
//! Service with a class is somebody else's. Nothing has to be removed when a Service goes, so no finalizer holds it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use client::EventType;
use informer::{Action, Cache, Cached, Controller, Delta, Failure, Index, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Node, Service};
use serde_json::{Value, json};

use crate::node_view::{NodeView, node_view};
use crate::service_endpoints::member::{self, Family};
use crate::target::target_of;

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The value under which every Service is found that wants an address.
const ALL: &str = "";

/// Ports of the nodes, over TCP, that no Service gets: the API server's and the node agent's.
pub type ReservedPorts = BTreeSet<u16>;

/// See the module's documentation. Keys are Services.
pub struct LoadBalancerController {
    services: Cache<Service>,
    nodes: Cache<Node>,
    /// Services that want an address, by [`ALL`] and by each of their ports.
    wanting: Index<Service>,
    reserved: ReservedPorts,
}

/// What a decision depends on.
pub struct Observed {
    service: Arc<Service>,
    /// The addresses that the Service can have, or why it gets none.
    offer: Result<Vec<IpAddr>, String>,
    /// The failure of the last plan.
    failure: Option<Failure>,
}

fn wants(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    let wants = spec.is_some_and(|spec| {
        spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
    });
    wants && service.metadata.deletion_timestamp.is_none()
}

/// The ports of a Service as `80/TCP`.
fn ports(service: &Service) -> BTreeSet<String> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.map(|port| format!("{}/{}", port.port, port.protocol.as_deref().unwrap_or("TCP"))).collect()
}

fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

/// The ports of the nodes' addresses that a Service has.
fn held(service: Option<&Service>) -> BTreeSet<String> {
    service.filter(|service| wants(service) && !ingress(service).is_empty()).map(ports).unwrap_or_default()
}

/// The order in which Services have a right to a port that several hold.
fn seniority(service: &Service) -> (Option<Timestamp>, Key) {
    (service.metadata.creation_timestamp.as_ref().map(|made| made.0), Key::of(service))
}

impl Controller for LoadBalancerController {
    const NAME: &'static str = "service-lb-controller";
    const ACCOUNT: &'static str = "service-controller";
    const EVENT_SOURCE: &'static str = "service-controller";
    const QUEUE: &'static str = "service";
    /// One at a time, so that no two Services take one port.
    const WORKERS: usize = 1;
    type Config = ReservedPorts;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, reserved: ReservedPorts) -> Self {
        let services: Cache<Service> = sources.reads();
        let wanting = wanting(&services);
        let waiting = wanting.clone();
        sources.mapped(move |delta: &Delta<Service>| {
            let mut keys = vec![delta.object().key.clone()];
            for port in freed(delta) {
                keys.extend(waiting.keys(&port));
            }
            keys
        });
        let all = wanting.clone();
        let nodes = sources.mapped(move |delta: &Delta<Node>| {
            let told = |node: &Cached<Node>| (is_offered(node), node_view(node).internal_ips.clone());
            let is_same = delta.old().is_some_and(|old| told(old) == told(delta.object()));
            if is_same { Vec::new() } else { all.keys(ALL) }
        });
        Self { services, nodes, wanting, reserved }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(service) = self.services.get_key(round.key).filter(|service| wants(service)) else {
            return Ok(None);
        };
        let offer = self.offer(&service);
        Ok(Some(Observed { service, offer, failure: round.failure.cloned() }))
    }

    fn reconcile(observed: &Observed, _: Timestamp) -> Plan {
        plan(observed)
    }
}

/// The ports that a change of a Service frees.
fn freed(delta: &Delta<Service>) -> BTreeSet<String> {
    match delta {
        Delta::Deleted(gone) => held(gone.typed().map(|service| &**service)),
        Delta::Applied { new, old: Some(old) } => {
            let [before, after] = [old, new].map(|state| held(state.typed().map(|service| &**service)));
            before.difference(&after).cloned().collect()
        }
        Delta::Applied { old: None, .. } => BTreeSet::new(),
    }
}

fn wanting(services: &Cache<Service>) -> Index<Service> {
    services.index("load-balancer", |service, found| {
        if let Some(service) = service.typed().filter(|service| wants(service)) {
            found(ALL);
            ports(service).iter().for_each(|port| found(port));
        }
    })
}

/// Whether the node takes traffic for Services, and is ready to.
fn is_offered(node: &Cached<Node>) -> (bool, bool) {
    let takes = node.label(EXCLUDED).is_none() && !node.is_being_deleted();
    (takes, &*node_view(node).ready == "True")
}

impl LoadBalancerController {
    fn offer(&self, service: &Service) -> Result<Vec<IpAddr>, String> {
        self.conflict(service).map_or(Ok(()), Err)?;
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
        let asked = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_deref());
        match asked.filter(|asked| !asked.is_empty()) {
            None => Ok(ips),
            Some(asked) => match ips.into_iter().find(|ip| asked.parse() == Ok(*ip)) {
                Some(ip) => Ok(vec![ip]),
                None => Err(format!("the address {asked} is none of a node")),
            },
        }
    }

    /// Why the Service cannot have its ports.
    fn conflict(&self, service: &Service) -> Option<String> {
        let own = Key::of(service);
        ports(service).into_iter().find_map(|port| {
            if self.reserved.iter().any(|reserved| port == format!("{reserved}/TCP")) {
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
}

fn plan(Observed { service, offer, failure }: &Observed) -> Plan {
    let mut plan = Plan::nothing();
    let event = |event_type, reason, message: String| Action::Event {
        about: client::reference(&**service),
        event_type,
        reason,
        message,
    };
    let failed = |why: &str| {
        let message = format!("Error syncing load balancer: {why}");
        event(EventType::Warning, "SyncLoadBalancerFailed", message)
    };
    if let Some(failure) = failure {
        plan.then(failed(&format!("failed to update load balancer status: {}", failure.message)));
    }
    let offered: &[IpAddr] = match offer {
        Ok(offered) => offered,
        Err(why) => {
            plan.then(failed(&format!("failed to ensure load balancer: {why}")));
            &[]
        }
    };
    if offer.as_ref().is_ok_and(Vec::is_empty) {
        let message = "There are no available nodes for LoadBalancer".to_owned();
        plan.then(event(EventType::Warning, "UnAvailableLoadBalancer", message));
    }
    let had = ingress(service);
    let told: Vec<IpAddr> = had.iter().filter_map(|at| at.ip.as_ref()?.parse().ok()).collect();
    if told == offered && told.len() == had.len() {
        return plan;
    }
    let patch = status(service, offered);
    let normal = |reason, message: &str| event(EventType::Normal, reason, message.to_owned());
    match (had.is_empty(), offered.is_empty()) {
        (true, _) => plan.actions.extend([
            normal("EnsuringLoadBalancer", "Ensuring load balancer"),
            patch,
            normal("EnsuredLoadBalancer", "Ensured load balancer"),
        ]),
        (false, true) => plan.then(patch),
        (false, false) => {
            let updated = normal("UpdatedLoadBalancer", "Updated load balancer with new hosts");
            plan.actions.extend([patch, updated]);
        }
    }
    plan.because(format!("addresses: {offered:?}"))
}

/// The patch of the status, which fails if the Service has changed since.
fn status(service: &Service, addresses: &[IpAddr]) -> Action {
    let metadata = &service.metadata;
    let ingress: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    let ingress = if ingress.is_empty() { Value::Null } else { ingress.into() };
    let patch = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    Action::MergePatch { target: target_of(service).subresource("status"), patch }
}

#[cfg(test)]
mod tests;
