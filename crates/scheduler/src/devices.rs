//! [`Devices`]: ResourceClaims and the devices there are, as decisions use them: on which nodes a pod can have its
//! claims, and which devices they would get there. Upstream: the plugin DynamicResources and
//! `k8s.io/dynamic-resource-allocation/structured`.
//!
//! Start with [`Devices::wanted`], what a pod's claims ask of nodes; [`allocator`] finds the devices on one node among
//! those of its [`pools`], by the expressions of [`selector`]. What was decided and is not written yet counts as
//! written ([`Devices::assume`]), so that no two pods get one device.

mod allocator;
mod pools;
mod selector;
mod wanted;

use std::collections::HashMap;
use std::sync::Arc;

use informer::{Cache, Index, Informers, Key};
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceClass, ResourceClaim, ResourceSlice};
use pods::devices::{self, PodClaim};

use crate::pod::PodInfo;
use pools::DeviceId;
pub use wanted::{Choices, Wanted};

/// In the index of claims: those that are allocated.
const ALLOCATED: &str = "yes";
/// In the index of slices: those that are not of one node.
const ANYWHERE: &str = "";

/// See the module's documentation.
#[derive(Clone)]
pub struct Devices {
    claims: Cache<ResourceClaim>,
    classes: Cache<DeviceClass>,
    slices: Cache<ResourceSlice>,
    allocated: Index<ResourceClaim>,
    /// Slices by the node that alone has their devices.
    by_node: Index<ResourceSlice>,
    /// Slices by driver and pool.
    by_pool: Index<ResourceSlice>,
    /// What claims get whose allocations are not written yet.
    assumed: HashMap<Key, Arc<AllocationResult>>,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").field("assumed", &self.assumed).finish_non_exhaustive()
    }
}

impl Default for Devices {
    /// Without any claim or device.
    fn default() -> Self {
        Self::over(Cache::new(), Cache::new(), Cache::new())
    }
}

impl Devices {
    /// Of the cluster's claims, classes and slices.
    pub fn of(informers: &Informers) -> Self {
        Self::over(informers.cache(), informers.cache(), informers.cache())
    }

    pub(crate) fn over(
        claims: Cache<ResourceClaim>,
        classes: Cache<DeviceClass>,
        slices: Cache<ResourceSlice>,
    ) -> Self {
        let allocated = claims.index("allocated", |claim, found| {
            if claim.typed().is_some_and(|claim| devices::allocation(claim).is_some()) {
                found(ALLOCATED);
            }
        });
        let by_node = slices.index("node", |slice, found| {
            let Some(slice) = slice.typed() else { return };
            found(slice.spec.node_name.as_deref().unwrap_or(ANYWHERE));
        });
        let by_pool = slices.index("pool", |slice, found| {
            let Some(slice) = slice.typed() else { return };
            found(&pools::key(&slice.spec.driver, &slice.spec.pool.name));
        });
        Self { claims, classes, slices, allocated, by_node, by_pool, assumed: HashMap::new() }
    }

    /// Calls `claim` with each claim that changes and whether an allocation has ended, and `other` as often as a class
    /// or a slice does.
    pub(crate) fn subscribe(
        &self,
        claim: impl Fn(Key, bool) + Send + Sync + 'static,
        other: impl Fn() + Clone + Send + Sync + 'static,
    ) {
        self.claims.subscribe(move |delta| {
            let is_allocated = |claim: &informer::Cached<ResourceClaim>| {
                claim.typed().is_some_and(|claim| devices::allocation(claim).is_some())
            };
            let freed = match delta {
                informer::Delta::Applied { new, old } => {
                    old.as_ref().is_some_and(is_allocated) && !is_allocated(new)
                }
                informer::Delta::Deleted(old) => is_allocated(old),
            };
            claim(delta.object().key.clone(), freed);
        });
        let classes = other.clone();
        self.classes.subscribe(move |_| classes());
        self.slices.subscribe(move |_| other());
    }

    pub(crate) async fn wait_synced(&self) {
        tokio::join!(self.claims.wait_synced(), self.classes.wait_synced(), self.slices.wait_synced());
    }

    pub(crate) fn claims(&self) -> &Cache<ResourceClaim> {
        &self.claims
    }

    /// Counts what was decided as written, until [`Devices::settle`].
    pub(crate) fn assume(&mut self, choices: &Choices) {
        for (claim, allocation) in &choices.allocations {
            self.assumed.insert(claim.clone(), Arc::clone(allocation));
        }
    }

    /// What was decided is written and seen, or was given up.
    pub(crate) fn settle(&mut self, choices: &Choices) {
        for (claim, _) in &choices.allocations {
            self.assumed.remove(claim);
        }
    }

    /// Devices that claims have or are about to have, but those of administrators, who take none away from others.
    fn taken(&self) -> Vec<DeviceId> {
        let written: Vec<_> = self.allocated.get(ALLOCATED);
        let written = written.iter().filter_map(|claim| claim.typed()?.status.as_ref()?.allocation.as_ref());
        let all = written.chain(self.assumed.values().map(|allocation| &**allocation));
        let results = all.filter_map(|allocation| allocation.devices.as_ref()?.results.as_ref()).flatten();
        let held = results.filter(|result| result.admin_access != Some(true));
        held.map(|result| DeviceId::of(&result.driver, &result.pool, &result.device)).collect()
    }

    /// Whether all claims of the pod are there and are its own to use, so that there is something to decide.
    ///
    /// # Errors
    /// What the pod waits for, in upstream's words.
    pub(crate) fn readiness(&self, pod: &PodInfo) -> Result<(), String> {
        pod.shape.devices.iter().flat_map(|claims| claims.iter()).try_for_each(|entry| {
            self.claim(pod, entry)?;
            Ok(())
        })
    }

    /// The claim that an entry of the pod stands for; `None` where the pod needs none.
    fn claim(&self, pod: &PodInfo, entry: &PodClaim) -> Result<Option<Arc<ResourceClaim>>, String> {
        let Key { namespace, name } = &pod.key;
        if entry.source == devices::Source::NotNeeded {
            return Ok(None);
        }
        let Some(wanted) = entry.claim() else {
            return Err(format!(
                "pod {:?}: PodResourceClaim {:?}: ResourceClaim not created yet",
                format!("{namespace}/{name}"),
                entry.name
            ));
        };
        let claim = self
            .claims
            .get(namespace, wanted)
            .ok_or_else(|| format!("resourceclaim.resource.k8s.io {wanted:?} not found"))?;
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("resourceclaim {wanted:?} is being deleted"));
        }
        if entry.is_made() && !devices::is_of_pod(&claim, &pod.uid) {
            return Err(devices::is_not_owner(namespace, wanted, name));
        }
        Ok(Some(claim))
    }

    /// What the pod asks of nodes for its claims' sake; `None` for a pod without claims.
    ///
    /// # Errors
    /// Why no node will do, in upstream's words.
    pub fn wanted<'s>(&'s self, pod: &PodInfo) -> Result<Option<Wanted<'s>>, String> {
        pod.shape.devices.as_ref().map(|claims| Wanted::of(self, pod, claims)).transpose()
    }
}

#[cfg(test)]
mod tests;
