//! The devices that a node can reach, by the pools they are in.

use std::sync::Arc;

use k8s_openapi::api::core::v1::NodeSelector as Selector;
use k8s_openapi::api::resource::v1::{Device, ResourceSlice};
use pods::NodeSelector;

use super::{ANYWHERE, Devices};
use crate::node::NodeInfo;

/// A device by driver, pool and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceId(pub Box<str>);

impl DeviceId {
    /// None of the parts has a line break in it.
    pub fn of(driver: &str, pool: &str, device: &str) -> Self {
        Self(format!("{driver}\n{pool}\n{device}").into())
    }
}

/// The key of a pool in the index of slices.
pub fn key(driver: &str, pool: &str) -> String {
    format!("{driver}/{pool}")
}

/// A pool, of which the node can reach devices.
pub struct Pool {
    pub driver: String,
    pub name: String,
    /// All slices of the newest generation, whichever nodes they are for.
    pub slices: Vec<Arc<ResourceSlice>>,
    /// Not all slices of the generation are there.
    pub is_incomplete: bool,
    /// What is wrong with the pool.
    pub fault: Option<String>,
    pub devices: Vec<Reachable>,
}

/// A device that the node can reach: its place among the slices of the pool.
pub struct Reachable {
    slice: usize,
    device: usize,
}

impl Pool {
    pub fn device(&self, reachable: &Reachable) -> &Device {
        &self.slices[reachable.slice].spec.devices.as_deref().unwrap_or_default()[reachable.device]
    }

    /// The nodes that can use the device; `None` for all.
    pub fn nodes_of(&self, reachable: &Reachable) -> Place<'_> {
        let (spec, device) = (&self.slices[reachable.slice].spec, self.device(reachable));
        let (name, selector) = if spec.per_device_node_selection == Some(true) {
            (&device.node_name, &device.node_selector)
        } else {
            (&spec.node_name, &spec.node_selector)
        };
        match (name, selector) {
            (Some(_), _) => Place::Node,
            (None, Some(selector)) => Place::Selected(selector),
            (None, None) => Place::Anywhere,
        }
    }
}

/// Where a device can be used.
pub enum Place<'p> {
    /// On the one node that was asked about.
    Node,
    Selected(&'p Selector),
    Anywhere,
}

fn reaches(name: Option<&String>, selector: Option<&Selector>, all: Option<bool>, node: &NodeInfo) -> bool {
    if let Some(name) = name {
        return **name == *node.name;
    }
    match selector {
        Some(selector) => {
            NodeSelector::of(&selector.node_selector_terms).matches(&node.name, |key| node.label(key))
        }
        None => all == Some(true),
    }
}

impl Devices {
    /// The pools of which the node can reach devices, in the order of driver and name.
    pub(super) fn pools_of(&self, node: &NodeInfo) -> Vec<Pool> {
        let near = [self.by_node.get(&node.name), self.by_node.get(ANYWHERE)].concat();
        let slices = near.iter().filter_map(|slice| slice.typed());
        let mut names: Vec<(&str, &str)> =
            slices.map(|slice| (&*slice.spec.driver, &*slice.spec.pool.name)).collect();
        names.sort_unstable();
        names.dedup();
        let pools = names.into_iter().map(|(driver, name)| self.pool(driver, name, node));
        pools.filter(|pool| !pool.devices.is_empty() || pool.is_incomplete).collect()
    }

    fn pool(&self, driver: &str, name: &str, node: &NodeInfo) -> Pool {
        let all = self.by_pool.get(&key(driver, name));
        let all: Vec<&Arc<ResourceSlice>> = all.iter().filter_map(|slice| slice.typed()).collect();
        let newest = all.iter().map(|slice| slice.spec.pool.generation).max().unwrap_or_default();
        let mut slices: Vec<Arc<ResourceSlice>> =
            all.into_iter().filter(|slice| slice.spec.pool.generation == newest).cloned().collect();
        slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let wanted = slices.first().map_or(0, |slice| slice.spec.pool.resource_slice_count);
        let mut pool = Pool {
            driver: driver.to_owned(),
            name: name.to_owned(),
            is_incomplete: i64::try_from(slices.len()).is_ok_and(|count| count < wanted),
            fault: None,
            devices: Vec::new(),
            slices,
        };
        pool.fault = duplicate(&pool.slices).map(|device| format!("duplicate device name {device}"));
        for (slice, held) in pool.slices.iter().enumerate() {
            let spec = &held.spec;
            let each = spec.per_device_node_selection == Some(true);
            if !each && !reaches(spec.node_name.as_ref(), spec.node_selector.as_ref(), spec.all_nodes, node) {
                continue;
            }
            for (at, device) in spec.devices.iter().flatten().enumerate() {
                let (name, selector) = (device.node_name.as_ref(), device.node_selector.as_ref());
                if !each || reaches(name, selector, device.all_nodes, node) {
                    pool.devices.push(Reachable { slice, device: at });
                }
            }
        }
        pool
    }
}

fn duplicate(slices: &[Arc<ResourceSlice>]) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    let mut names = slices.iter().flat_map(|slice| slice.spec.devices.iter().flatten()).map(|one| &*one.name);
    names.find(|name| !seen.insert(*name))
}
