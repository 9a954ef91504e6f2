//! [`Wanted`]: what one pod's claims ask of a node.

use std::cell::RefCell;
use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::resource::v1::{AllocationResult, ResourceClaim};
use pods::NodeSelector;
use pods::devices::{self, PodClaim};

use super::allocator::{Order, Search};
use super::{Devices, pools};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::verdict::{Rule, Verdict};

/// See the module's documentation.
pub struct Wanted<'s> {
    devices: &'s Devices,
    /// Claims that are allocated, with the nodes on which they can be used.
    allocated: Vec<(Arc<ResourceClaim>, Option<NodeSelector>)>,
    /// Claims that are still to be allocated.
    orders: Vec<Order>,
    taken: std::collections::HashSet<pools::DeviceId>,
    /// Why devices could not even be compared with what is asked for: an expression or a pool is wrong.
    fault: RefCell<Option<String>>,
    pod_uid: Arc<str>,
}

/// Which devices a pod's claims get on a node, and which claims are to be reserved for the pod.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    pub allocations: Vec<(Key, Arc<AllocationResult>)>,
    /// All claims that are not reserved for the pod yet, with their uids.
    pub reserve: Vec<(Key, Arc<str>)>,
}

impl Choices {
    /// Whether something is to be written before the pod is bound.
    pub fn is_empty(&self) -> bool {
        self.reserve.is_empty()
    }
}

fn key(claim: &ResourceClaim) -> Key {
    let meta = &claim.metadata;
    Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

impl<'s> Wanted<'s> {
    pub(super) fn of(devices: &'s Devices, pod: &PodInfo, claims: &[PodClaim]) -> Result<Self, String> {
        let mut wanted = Self {
            devices,
            allocated: Vec::new(),
            orders: Vec::new(),
            taken: std::collections::HashSet::new(),
            fault: RefCell::default(),
            pod_uid: Arc::clone(&pod.uid),
        };
        for entry in claims {
            let Some(claim) = devices.claim(pod, entry)? else { continue };
            let name = key(&claim);
            if let Some(allocation) = devices::allocation(&claim) {
                if !devices::is_reserved_for(&claim, &pod.uid) && !devices::can_be_reserved(&claim) {
                    return Err("resourceclaim in use".to_owned());
                }
                let selector = allocation.node_selector.as_ref();
                let nodes = selector.map(|selector| NodeSelector::of(&selector.node_selector_terms));
                wanted.allocated.push((claim, nodes));
            } else if devices.assumed.contains_key(&name) {
                return Err(format!("resource claim {name} is in the process of being allocated"));
            } else if !wanted.orders.iter().any(|order| order.key == name) {
                wanted.orders.push(Order::of(name, claim, &devices.classes)?);
            }
        }
        if !wanted.orders.is_empty() {
            wanted.taken = devices.taken().into_iter().collect();
        }
        Ok(wanted)
    }

    /// Whether the pod can have its claims on the node.
    pub fn check(&self, node: &NodeInfo) -> Verdict {
        if !self.allocated.iter().all(|(_, nodes)| is_on(nodes.as_ref(), node)) {
            return Verdict::no(Rule::DevicesElsewhere);
        }
        if self.allocate(node).is_none() { Verdict::no(Rule::NoDevices) } else { Verdict::FITS }
    }

    /// What is wrong with a claim, a class or a pool, found while nodes were looked at.
    pub fn fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }

    /// What the claims that have no devices yet get on the node.
    fn allocate(&self, node: &NodeInfo) -> Option<Vec<AllocationResult>> {
        if self.orders.is_empty() {
            return Some(Vec::new());
        }
        if self.fault.borrow().is_some() {
            return None;
        }
        let pools = self.devices.pools_of(node);
        match Search::new(&self.orders, &pools, &self.taken).run(&node.name) {
            Ok(found) => found,
            Err(fault) => {
                *self.fault.borrow_mut() = Some(fault);
                None
            }
        }
    }

    /// The devices that the pod's claims get on the node; `None` if a claim gets none.
    pub fn choose(&self, node: &NodeInfo) -> Option<Choices> {
        let found = self.allocate(node)?;
        let allocations =
            self.orders.iter().map(|order| order.key.clone()).zip(found.into_iter().map(Arc::new));
        let uid = |claim: &ResourceClaim| Arc::from(claim.metadata.uid.as_deref().unwrap_or_default());
        let held = self.allocated.iter().map(|(claim, _)| claim);
        let held = held.filter(|claim| !devices::is_reserved_for(claim, &self.pod_uid));
        let fresh = self.orders.iter().map(|order| (order.key.clone(), uid(&order.claim)));
        let mut reserve: Vec<_> = held.map(|claim| (key(claim), uid(claim))).chain(fresh).collect();
        reserve.dedup();
        Some(Choices { allocations: allocations.collect(), reserve })
    }

    /// A claim of the pod that nobody else uses, and whose devices no node that was refused has: without its allocation
    /// the pod may fit.
    pub(crate) fn to_deallocate(&self, nodes: &[NodeInfo]) -> Option<Key> {
        let is_alone = |claim: &ResourceClaim| {
            devices::consumers(claim).iter().all(|consumer| *consumer.uid == *self.pod_uid)
        };
        let mut present = nodes.iter().filter(|node| node.present);
        let misses = |selector: &Option<NodeSelector>| present.any(|node| !is_on(selector.as_ref(), node));
        let mut misses = misses;
        let found = self.allocated.iter().find(|(claim, nodes)| is_alone(claim) && misses(nodes));
        found.map(|(claim, _)| key(claim))
    }
}

fn is_on(selector: Option<&NodeSelector>, node: &NodeInfo) -> bool {
    selector.is_none_or(|selector| selector.matches(&node.name, |key| node.label(key)))
}
