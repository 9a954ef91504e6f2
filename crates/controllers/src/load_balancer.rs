//! Gives Services of type LoadBalancer their addresses: the nodes' own, or those of a pool. Every node sends on what comes
//! for such an address and port. Upstream's part: `k8s.io/cloud-provider/controllers/service`, which asks a cloud for an
//! address.
//!
//! Start with [`Source`]. The nodes' addresses are shared, so a port of them belongs to one Service; an address of the
//! pool belongs to one Service. The others wait until it is free. The condition [`FROM_POOL`] tells the nodes which
//! addresses they are to announce. A Service with a class is somebody else's. Nothing has to be removed when a Service
//! goes, so no finalizer holds it.

mod offers;
mod pool;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use client::EventType;
use informer::{Action, Cache, Cached, Controller, Delta, Failure, Index, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Node, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use crate::node_view::node_view;
use crate::target::target_of;

pub use pool::{Pool, PoolError};

use offers::{Offer, Refusal};

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The value under which every Service is found that wants an address.
const ALL: &str = "";
/// The value under which Services are found that have no address and would take any.
const WAITING: &str = "waiting";
/// The condition of a Service whose address is of the pool: the nodes announce such addresses.
pub const FROM_POOL: &str = "knarr.dev/AddressFromPool";

/// Ports of the nodes, over TCP, that no Service gets: the API server's and the node agent's.
pub type ReservedPorts = BTreeSet<u16>;

/// Where the addresses come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// They are the nodes' own.
    Nodes(ReservedPorts),
    /// Each Service has an address of its own, which the nodes announce.
    Pool(Pool),
}

/// See the module's documentation. Keys are Services.
pub struct LoadBalancerController {
    services: Cache<Service>,
    nodes: Cache<Node>,
    /// Services of ours: those that want an address by [`ALL`], by each of their ports, and by [`WAITING`] or the address
    /// that they ask for while they have none; all by each address that they have.
    wanting: Index<Service>,
    source: Source,
}

/// What a decision depends on.
pub struct Observed {
    service: Arc<Service>,
    /// The addresses that the Service can have, or why it gets none.
    offer: Offer,
    is_from_pool: bool,
    /// The failure of the last plan.
    failure: Option<Failure>,
}

fn is_ours(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
    })
}

fn wants(service: &Service) -> bool {
    is_ours(service) && service.metadata.deletion_timestamp.is_none()
}

/// The address that a Service asks for.
fn asked(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    spec.load_balancer_ip.as_deref().filter(|asked| !asked.is_empty())
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

/// The addresses that a Service has. One that is about to go has its own until it is gone, since until then the nodes
/// send on what comes for them.
fn addresses(service: &Service) -> impl Iterator<Item = Ipv4Addr> {
    let ours = is_ours(service).then(|| ingress(service));
    ours.into_iter().flatten().filter_map(|at| at.ip.as_ref()?.parse().ok())
}

/// The value under which the Services are found that have an address.
fn holder(address: Ipv4Addr) -> String {
    format!("has {address}")
}

/// The value under which the Services are found that have none and ask for this.
fn asker(address: &str) -> String {
    format!("asks {address}")
}

/// The value under which a Service stands in line for an address, if it does.
fn place(service: &Service) -> Option<String> {
    let stands = wants(service) && ingress(service).is_empty();
    stands.then(|| asked(service).map_or_else(|| WAITING.to_owned(), asker))
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
    type Config = Source;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, source: Source) -> Self {
        let services: Cache<Service> = sources.reads();
        let wanting = wanting(&services);
        let (waiting, has_pool) = (wanting.clone(), matches!(source, Source::Pool(_)));
        sources.mapped(move |delta: &Delta<Service>| {
            let mut keys = vec![delta.object().key.clone()];
            if has_pool {
                keys.extend(next_in_line(delta, &waiting));
            } else {
                keys.extend(freed(delta).iter().flat_map(|port| waiting.keys(port)));
            }
            keys
        });
        let all = wanting.clone();
        let nodes = sources.mapped(move |delta: &Delta<Node>| {
            let told = |node: &Cached<Node>| {
                // A pool depends on where the nodes are alone.
                let offered = if has_pool { (true, true) } else { offers::is_offered(node) };
                (offered, node_view(node).internal_ips.clone())
            };
            let is_same = delta.old().is_some_and(|old| told(old) == told(delta.object()));
            if is_same { Vec::new() } else { all.keys(ALL) }
        });
        Self { services, nodes, wanting, source }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let concerns = |service: &Arc<Service>| wants(service) || has_left(service);
        let Some(service) = self.services.get_key(round.key).filter(concerns) else { return Ok(None) };
        let offer = self.offer(&service);
        let is_from_pool = matches!(self.source, Source::Pool(_));
        Ok(Some(Observed { service, offer, is_from_pool, failure: round.failure.cloned() }))
    }

    fn reconcile(observed: &Observed, now: Timestamp) -> Plan {
        plan(observed, now)
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

/// Who may get an address of the pool after a change of a Service: who asks for one that it has freed, and, of those
/// that would take any, one: as it is served or goes, the next one's turn comes.
fn next_in_line(delta: &Delta<Service>, waiting: &Index<Service>) -> Vec<Key> {
    let (before, after) = match delta {
        Delta::Deleted(gone) => (gone.typed().cloned(), None),
        Delta::Applied { new, old } => {
            (old.as_ref().and_then(|old| old.typed().cloned()), new.typed().cloned())
        }
    };
    let held = |service: Option<&Arc<Service>>| -> BTreeSet<Ipv4Addr> {
        service.into_iter().flat_map(|service| addresses(service)).collect()
    };
    let freed = &held(before.as_ref()) - &held(after.as_ref());
    let line = |service: Option<&Arc<Service>>| service.and_then(|service| place(service));
    let left = line(before.as_ref()).is_some() && line(before.as_ref()) != line(after.as_ref());
    let mut keys: Vec<Key> =
        freed.iter().flat_map(|address| waiting.keys(&asker(&address.to_string()))).collect();
    if left || !freed.is_empty() {
        keys.extend(waiting.keys(WAITING).into_iter().next());
    }
    keys
}

fn wanting(services: &Cache<Service>) -> Index<Service> {
    services.index("load-balancer", |service, found| {
        let Some(service) = service.typed().filter(|service| is_ours(service)) else { return };
        addresses(service).for_each(|address| found(&holder(address)));
        if wants(service) {
            found(ALL);
            ports(service).iter().for_each(|port| found(port));
            place(service).iter().for_each(|place| found(place));
        }
    })
}

fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let Observed { service, offer, is_from_pool, failure } = observed;
    let mut plan = Plan::nothing();
    if has_left(service) {
        plan.then(patch(service, json!({"conditions": conditions_with(service, None)})));
        return plan.because("no load balancer's any more".to_owned());
    }
    let event = |event_type, reason, message: String| Action::Event {
        about: client::reference(&**service),
        event_type,
        reason,
        message,
    };
    if let Some(failure) = failure {
        let why = format!("failed to update load balancer status: {}", failure.message);
        plan.then(event(EventType::Warning, "SyncLoadBalancerFailed", offers::not_synced(&why)));
    }
    let offered: &[IpAddr] = match offer {
        Ok(offered) => offered,
        Err(Refusal { reason, message }) => {
            plan.then(event(EventType::Warning, reason, message.clone()));
            &[]
        }
    };
    if offer.as_ref().is_ok_and(Vec::is_empty) {
        let message = "There are no available nodes for LoadBalancer".to_owned();
        plan.then(event(EventType::Warning, "UnAvailableLoadBalancer", message));
    }
    let had = ingress(service);
    let told: Vec<IpAddr> = had.iter().filter_map(|at| at.ip.as_ref()?.parse().ok()).collect();
    let is_announced = *is_from_pool && !offered.is_empty();
    if told == offered && told.len() == had.len() && is_announced == has_condition(service) {
        return plan;
    }
    let patch = status(service, offered, is_announced.then_some(now));
    let normal = |reason, message: &str| event(EventType::Normal, reason, message.to_owned());
    match (had.is_empty(), offered.is_empty()) {
        (true, true) => plan.then(patch),
        (true, false) => plan.actions.extend([
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

fn conditions(service: &Service) -> &[Condition] {
    let status = service.status.as_ref();
    status.and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn has_condition(service: &Service) -> bool {
    conditions(service).iter().any(|condition| condition.type_ == FROM_POOL && condition.status == "True")
}

/// Whether a Service that is none of ours any more still says that its address is of the pool.
fn has_left(service: &Service) -> bool {
    !is_ours(service) && has_condition(service)
}

/// The conditions of a Service whose addresses the nodes announce since a time, or do not.
fn conditions_with(service: &Service, announced: Option<Timestamp>) -> Value {
    let others = conditions(service).iter().filter(|condition| condition.type_ != FROM_POOL).cloned();
    let ours = announced.map(|now| Condition {
        type_: FROM_POOL.to_owned(),
        status: "True".to_owned(),
        reason: "AddressAllocated".to_owned(),
        message: "The address is of the pool, and one node announces it".to_owned(),
        last_transition_time: Time(now),
        observed_generation: None,
    });
    let all: Vec<Condition> = others.chain(ours).collect();
    if all.is_empty() { Value::Null } else { json!(all) }
}

fn status(service: &Service, addresses: &[IpAddr], announced: Option<Timestamp>) -> Action {
    let ingress: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    let ingress = if ingress.is_empty() { Value::Null } else { ingress.into() };
    let mut status = json!({"loadBalancer": {"ingress": ingress}});
    if announced.is_some() != has_condition(service) {
        status["conditions"] = conditions_with(service, announced);
    }
    patch(service, status)
}

/// The patch of the status, which fails if the Service has changed since.
fn patch(service: &Service, status: Value) -> Action {
    let metadata = &service.metadata;
    let patch = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": status,
    });
    Action::MergePatch { target: target_of(service).subresource("status"), patch }
}

#[cfg(test)]
mod tests;
