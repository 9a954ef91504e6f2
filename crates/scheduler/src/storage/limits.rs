//! What drivers say: how many of their volumes a node may have, and how much room is left for new ones.
//!
//! Counted are the volumes of the pods that a node has. Volumes that are attached to it for no pod are not.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cache, Index, Key};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use pods::volumes::{self, attachment};

use super::Storage;
use crate::node::NodeInfo;

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct Limits {
    nodes: Cache<CSINode>,
    drivers: Cache<CSIDriver>,
    capacities: Cache<CSIStorageCapacity>,
    /// What room there is, by class.
    by_class: Index<CSIStorageCapacity>,
    /// The claims of each node's pods, and how many pods have them.
    on: HashMap<Arc<str>, HashMap<Key, usize>>,
}

impl Default for Limits {
    /// Without any driver.
    fn default() -> Self {
        Self::over(Cache::new(), Cache::new(), Cache::new())
    }
}

impl Limits {
    pub fn over(
        nodes: Cache<CSINode>,
        drivers: Cache<CSIDriver>,
        capacities: Cache<CSIStorageCapacity>,
    ) -> Self {
        let by_class = capacities.index("class", |capacity, found| {
            if let Some(capacity) = capacity.typed() {
                found(&capacity.storage_class_name);
            }
        });
        Self { nodes, drivers, capacities, by_class, on: HashMap::new() }
    }

    /// Calls `changed` as often as a driver says something new.
    pub fn subscribe(&self, changed: impl Fn() + Clone + Send + Sync + 'static) {
        let (drivers, capacities) = (changed.clone(), changed.clone());
        self.nodes.subscribe(move |_| changed());
        self.drivers.subscribe(move |_| drivers());
        self.capacities.subscribe(move |_| capacities());
    }

    pub async fn wait_synced(&self) {
        tokio::join!(self.nodes.wait_synced(), self.drivers.wait_synced(), self.capacities.wait_synced());
    }

    /// A pod with this claim has got the node.
    pub fn came(&mut self, node: &Arc<str>, claim: &Key) {
        *self.on.entry(Arc::clone(node)).or_default().entry(claim.clone()).or_default() += 1;
    }

    /// One has left it.
    pub fn went(&mut self, node: &str, claim: &Key) {
        let Some(claims) = self.on.get_mut(node) else { return };
        if let Some(count) = claims.get_mut(claim) {
            *count -= 1;
            if *count == 0 {
                claims.remove(claim);
            }
        }
        if claims.is_empty() {
            self.on.remove(node);
        }
    }

    /// Whether a volume of the class can be made for the claim on the node, by what the driver says where it says
    /// something (`CSIDriver.spec.storageCapacity`).
    pub fn has_space(&self, class: &StorageClass, claim: &PersistentVolumeClaim, node: &NodeInfo) -> bool {
        let driver = self.drivers.get("", &class.provisioner);
        if driver.is_none_or(|driver| driver.spec.storage_capacity != Some(true)) {
            return true;
        }
        let wanted = volumes::requested(claim);
        let amount = |text: &Amount| text.0.parse::<api::quantity::Quantity>().ok();
        let name = class.metadata.name.as_deref().unwrap_or_default();
        self.by_class.get(name).iter().filter_map(|held| held.typed()).any(|held| {
            let room = held.maximum_volume_size.as_ref().or(held.capacity.as_ref()).and_then(amount);
            let topology =
                held.node_topology.as_ref().and_then(|selector| serde_json::to_value(selector).ok());
            let selector = topology.and_then(|selector| LabelSelector::from_object(&selector).ok());
            room.is_some_and(|room| room >= wanted)
                && selector.is_some_and(|selector| selector.matches(|key| node.label(key)))
        })
    }
}

impl Storage {
    /// Whether a node would have more volumes of a driver than the driver allows with those that are asked for.
    pub(super) fn exceeds(&self, node: &NodeInfo, asked: impl Iterator<Item = (String, String)>) -> bool {
        let mut asked = asked.peekable();
        if asked.peek().is_none() {
            return false;
        }
        let Some(said) = self.limits.nodes.get("", &node.name) else { return false };
        let limit = |driver: &str| {
            let said = said.spec.drivers.iter().find(|said| said.name == driver)?;
            usize::try_from(said.allocatable.as_ref()?.count?).ok()
        };
        let asked: BTreeSet<_> = asked.filter(|(driver, _)| limit(driver).is_some()).collect();
        if asked.is_empty() {
            return false;
        }
        let claims = self.limits.on.get(&*node.name).into_iter().flat_map(|claims| claims.keys());
        let held: BTreeSet<_> = claims.filter_map(|claim| self.driver_volume(claim)).collect();
        let drivers: BTreeSet<&String> = asked.difference(&held).map(|(driver, _)| driver).collect();
        drivers.into_iter().any(|driver| {
            let count = held.union(&asked).filter(|(of, _)| of == driver).count();
            limit(driver).is_some_and(|limit| count > limit)
        })
    }

    /// The driver's volume of a claim that a pod with a node has.
    fn driver_volume(&self, key: &Key) -> Option<(String, String)> {
        let claim = self.claims.get_key(key)?;
        let name = volumes::volume_name(&claim);
        if name.is_empty() {
            let class = self.classes.get("", volumes::class_of_claim(&claim))?;
            return Some((class.provisioner.clone(), format!("{}/{}", key.namespace, key.name)));
        }
        let volume = self.volumes.get("", name)?;
        attachment::driver_of(&volume).map(|(driver, handle)| (driver.to_owned(), handle.to_owned()))
    }
}
