//! [`Storage`]: claims and volumes as decisions use them: where a pod can have its volumes, and which volumes it would get
//! on a node. Upstream: the plugins VolumeBinding, VolumeRestrictions, VolumeZone and NodeVolumeLimits.
//!
//! Start with [`Storage::wanted`], what a pod asks of nodes. What was decided and not written yet counts as written
//! ([`Storage::assume`]), so that two pods neither get one volume nor send one claim to two nodes.

mod limits;
mod wanted;

use std::collections::HashMap;
use std::sync::Arc;

use informer::{Cache, Index, Informers, Key};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use pods::volumes;

use crate::pod::{Claims, PodInfo};

pub(crate) use limits::Limits;
pub use wanted::{Choices, Wanted};

/// What was decided for a claim and is not written yet.
#[derive(Debug, Clone)]
struct Assumed {
    node: Arc<str>,
    /// The volume that the claim gets; one is to be made where there is none.
    volume: Option<Arc<str>>,
    /// How many pods that are being bound rely on this.
    pods: usize,
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Storage {
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    /// Volumes that no claim has, by class.
    free: Index<PersistentVolume>,
    /// Volumes by the claim that they are kept for.
    kept: Index<PersistentVolume>,
    /// How many pods that have a node use a claim.
    used: HashMap<Key, usize>,
    assumed: HashMap<Key, Assumed>,
    limits: Limits,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage")
            .field("used", &self.used)
            .field("assumed", &self.assumed)
            .finish_non_exhaustive()
    }
}

impl Default for Storage {
    /// Without any claim or volume.
    fn default() -> Self {
        Self::over(Cache::new(), Cache::new(), Cache::new())
    }
}

impl Storage {
    /// Of the cluster's claims, volumes and classes.
    pub fn of(informers: &Informers) -> Self {
        let storage = Self::over(informers.cache(), informers.cache(), informers.cache());
        storage.limited_by(Limits::over(informers.cache(), informers.cache(), informers.cache()))
    }

    /// The same with what drivers say of nodes and room.
    #[must_use]
    pub(crate) fn limited_by(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn over(
        claims: Cache<PersistentVolumeClaim>,
        volumes: Cache<PersistentVolume>,
        classes: Cache<StorageClass>,
    ) -> Self {
        let free = volumes.index("free", |volume, found| {
            let Some(volume) = volume.typed() else { return };
            if volumes::claim_of(volume).is_none() {
                found(volumes::class_of_volume(volume));
            }
        });
        let kept = volumes.index("kept", |volume, found| {
            let Some(of) = volume.typed().and_then(|volume| volumes::claim_of(volume).cloned()) else {
                return;
            };
            let part = |part: Option<String>| part.unwrap_or_default();
            found(&format!("{}/{}", part(of.namespace), part(of.name)));
        });
        Self {
            claims,
            volumes,
            classes,
            free,
            kept,
            used: HashMap::new(),
            assumed: HashMap::new(),
            limits: Limits::default(),
        }
    }

    /// Calls `claim` with each claim that changes, and `other` as often as a volume or a class does.
    pub(crate) fn subscribe(
        &self,
        claim: impl Fn(Key) + Send + Sync + 'static,
        other: impl Fn() + Clone + Send + Sync + 'static,
    ) {
        self.claims.subscribe(move |delta| claim(delta.object().key.clone()));
        let volumes = other.clone();
        self.volumes.subscribe(move |_| volumes());
        let classes = other.clone();
        self.classes.subscribe(move |_| classes());
        self.limits.subscribe(other);
    }

    pub(crate) async fn wait_synced(&self) {
        tokio::join!(
            self.claims.wait_synced(),
            self.volumes.wait_synced(),
            self.classes.wait_synced(),
            self.limits.wait_synced()
        );
    }

    /// A pod with these claims has got a node.
    pub(crate) fn came(&mut self, node: &Arc<str>, namespace: &str, claims: Option<&Claims>) {
        for claim in claims.into_iter().flat_map(|claims| claims.iter()) {
            let key = Key::new(namespace, &claim.name);
            self.limits.came(node, &key);
            *self.used.entry(key).or_default() += 1;
        }
    }

    /// One has left its node.
    pub(crate) fn went(&mut self, node: &str, namespace: &str, claims: Option<&Claims>) {
        for claim in claims.into_iter().flat_map(|claims| claims.iter()) {
            let key = Key::new(namespace, &claim.name);
            self.limits.went(node, &key);
            if let Some(count) = self.used.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.used.remove(&key);
                }
            }
        }
    }

    fn is_used(&self, key: &Key) -> bool {
        self.used.contains_key(key)
    }

    /// Counts what was decided as written, until [`Storage::settle`].
    pub(crate) fn assume(&mut self, node: &str, choices: &Choices) {
        let chosen = choices.volumes.iter().map(|(claim, volume)| (claim, Some(volume)));
        for (claim, volume) in chosen.chain(choices.to_make.iter().map(|claim| (claim, None))) {
            let fresh = || Assumed {
                node: node.into(),
                volume: volume.map(|volume| volume.metadata.name.as_deref().unwrap_or_default().into()),
                pods: 0,
            };
            self.assumed.entry(claim.clone()).or_insert_with(fresh).pods += 1;
        }
    }

    /// What was decided is written, or was given up.
    pub(crate) fn settle(&mut self, choices: &Choices) {
        let chosen = choices.volumes.iter().map(|(claim, _)| claim);
        for claim in chosen.chain(&choices.to_make) {
            let Some(assumed) = self.assumed.get_mut(claim) else { continue };
            assumed.pods -= 1;
            if assumed.pods == 0 {
                self.assumed.remove(claim);
            }
        }
    }

    /// What the pod asks of nodes for its volumes' sake; `None` for a pod without claims.
    ///
    /// # Errors
    /// Why no node will do, in upstream's words.
    pub fn wanted<'s>(&'s self, pod: &PodInfo) -> Result<Option<Wanted<'s>>, String> {
        pod.shape.claims.as_ref().map(|claims| Wanted::of(self, pod, claims)).transpose()
    }
}

#[cfg(test)]
mod tests;
