//! The loop of the binder: what it reads, and which changes concern which claims and volumes.
//!
//! Claims and volumes are decided about one at a time, and every write is bound to the version that was read: no two
//! claims get one volume.

use std::sync::Arc;

use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use pods::volumes;

use super::{claim, volume};
use crate::replicas::pod;

/// The value of claims that name no class, not even the empty one; no class is called so.
const CLASSLESS: &str = " ";

/// See the module's documentation. Keys with a namespace are claims, those without are volumes.
pub struct BinderController {
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    /// Volumes that no claim has, by class.
    free: Index<PersistentVolume>,
    /// Volumes by the claim that they are bound to or kept for.
    kept: Index<PersistentVolume>,
    /// Pods by the claims that they use.
    users: Index<Pod>,
}

/// What a decision depends on.
pub enum Observed {
    Claim(Box<claim::Observed>),
    Volume(Box<volume::Observed>),
}

fn place(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// The claim of a volume as [`place`] has it.
fn kept_for(volume: &PersistentVolume) -> Option<Key> {
    let of = volumes::claim_of(volume)?;
    Some(Key::new(of.namespace.as_deref()?, of.name.as_deref()?))
}

/// Pods by the claims that they use.
pub(crate) fn by_claim(pods: &Cache<Pod>) -> Index<Pod> {
    pods.index("claim", |pod, found| {
        for used in &pod::facts(pod).claims {
            found(&place(pod.namespace(), &used.name));
        }
    })
}

/// The pods that use a claim.
pub(crate) fn users(index: &Index<Pod>, claim: &Key) -> Vec<Cached<Pod>> {
    index.get(&place(&claim.namespace, &claim.name))
}

/// Claims that want a volume, by their class.
fn by_class(claims: &Cache<PersistentVolumeClaim>) -> Index<PersistentVolumeClaim> {
    claims.index("unbound", |claim, found| {
        let Some(claim) = claim.typed() else { return };
        if volumes::volume_name(claim).is_empty() && !volumes::is_bind_completed(claim) {
            found(volumes::class_of_claim(claim));
            if !volumes::has_class(claim) {
                found(CLASSLESS);
            }
        }
    })
}

/// Claims by the volume they name or are bound to.
fn by_volume(claims: &Cache<PersistentVolumeClaim>) -> Index<PersistentVolumeClaim> {
    claims.index("volume", |claim, found| {
        let Some(claim) = claim.typed() else { return };
        let name = volumes::volume_name(claim);
        if !name.is_empty() {
            found(name);
        }
    })
}

/// The states of a change, decoded.
fn states<K: informer::Kind>(delta: &Delta<K>) -> impl Iterator<Item = Arc<K>> {
    let states = std::iter::once(delta.object()).chain(delta.old());
    states.filter_map(|state| state.typed().cloned()).collect::<Vec<_>>().into_iter()
}

/// Pods that are new or have just got a node concern their claims.
fn claims_of(delta: &Delta<Pod>) -> Vec<Key> {
    let new = delta.object();
    let facts = pod::facts(new);
    let is_news = delta.old().is_none_or(|old| pod::facts(old).node_name != facts.node_name);
    if facts.claims.is_empty() || !is_news {
        return Vec::new();
    }
    facts.claims.iter().map(|used| Key::new(new.namespace(), &used.name)).collect()
}

impl Controller for BinderController {
    const NAME: &'static str = "persistentvolume-binder-controller";
    const ACCOUNT: &'static str = "persistent-volume-binder";
    const EVENT_SOURCE: &'static str = "persistentvolume-controller";
    const QUEUE: &'static str = "volumes";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let claims: Cache<PersistentVolumeClaim> = sources.reads();
        let volumes: Cache<PersistentVolume> = sources.reads();
        let pods: Cache<Pod> = sources.reads();
        let (unbound, named) = (by_class(&claims), by_volume(&claims));
        let free = volumes.index("free", |volume, found| {
            let Some(volume) = volume.typed() else { return };
            if volumes::claim_of(volume).is_none() {
                found(volumes::class_of_volume(volume));
            }
        });
        let kept = volumes.index("kept", |volume, found| {
            if let Some(claim) = volume.typed().and_then(|volume| kept_for(volume)) {
                found(&place(&claim.namespace, &claim.name));
            }
        });
        let users = by_claim(&pods);
        let (waiting, holders) = (unbound.clone(), named);
        sources.mapped(move |delta: &Delta<PersistentVolume>| {
            let object = delta.object();
            let mut keys = vec![object.key.clone()];
            keys.extend(holders.keys(object.name()));
            keys.extend(states(delta).filter_map(|volume| kept_for(&volume)));
            let newest = states(delta).next();
            if let Some(volume) = newest.filter(|volume| volumes::claim_of(volume).is_none()) {
                keys.extend(waiting.keys(volumes::class_of_volume(&volume)));
            }
            keys
        });
        let kept_of = kept.clone();
        sources.mapped(move |delta: &Delta<PersistentVolumeClaim>| {
            let key = &delta.object().key;
            let mut keys = kept_of.keys(&place(&key.namespace, &key.name));
            keys.extend(states(delta).filter_map(|claim| {
                let name = volumes::volume_name(&claim);
                (!name.is_empty()).then(|| Key::new("", name))
            }));
            keys.push(key.clone());
            keys
        });
        let waiting = unbound.clone();
        let classes = sources.mapped(move |delta: &Delta<StorageClass>| {
            let mut keys = waiting.keys(delta.object().name());
            keys.extend(waiting.keys(CLASSLESS));
            keys
        });
        sources.mapped(claims_of);
        Self { claims, volumes, classes, free, kept, users }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        if round.key.namespace.is_empty() {
            let Some(volume) = self.volumes.get_key(round.key) else { return Ok(None) };
            return Ok(Some(Observed::Volume(Box::new(self.volume(round, volume).await?))));
        }
        let Some(claim) = self.claims.get_key(round.key) else { return Ok(None) };
        Ok(Some(Observed::Claim(Box::new(self.claim(round, claim).await?))))
    }

    fn reconcile(observed: &Observed, now: Timestamp) -> Plan {
        match observed {
            Observed::Claim(observed) => claim::plan(observed, now),
            Observed::Volume(observed) => volume::plan(observed, now),
        }
    }
}

impl BinderController {
    async fn volume(
        &self,
        round: &Round<'_>,
        volume: Arc<PersistentVolume>,
    ) -> Result<volume::Observed, kube::Error> {
        let Some(of) = volumes::claim_of(&volume).filter(|of| !volumes::uid(of).is_empty()).cloned() else {
            return Ok(volume::Observed { volume, claim: None });
        };
        let namespace = of.namespace.clone().unwrap_or_default();
        let name = of.name.clone().unwrap_or_default();
        let is_it = |claim: &Arc<PersistentVolumeClaim>| claim.metadata.uid == of.uid;
        let mut claim = self.claims.get(&namespace, &name).filter(is_it);
        // Whoever has made the claim may be ahead of the cache: its volume is not given up before the API was asked.
        if claim.is_none() && !matches!(volumes::phase(&volume), "Released" | "Failed") {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(round.client.clone(), &namespace);
            claim = api.get_opt(&name).await?.map(Arc::new).filter(is_it);
        }
        Ok(volume::Observed { volume, claim })
    }

    async fn claim(
        &self,
        round: &Round<'_>,
        claim: Arc<PersistentVolumeClaim>,
    ) -> Result<claim::Observed, kube::Error> {
        let named = volumes::volume_name(&claim);
        let mut volume = None;
        if !named.is_empty() {
            volume = self.volumes.get("", named);
            if volume.is_none() && volumes::is_bind_completed(&claim) {
                // A volume counts as lost only if the API does not have it either.
                let api: Api<PersistentVolume> = Api::all(round.client.clone());
                volume = api.get_opt(named).await?.map(Arc::new);
            }
        }
        let wants = named.is_empty() && !volumes::is_bind_completed(&claim);
        if !wants {
            return Ok(claim::Observed { claim, volume, ..claim::Observed::default() });
        }
        let class = volumes::class_of_claim(&claim);
        let candidates = self.free.get(class).into_iter();
        let kept = self.kept.get(&place(&round.key.namespace, &round.key.name));
        let candidates = candidates.chain(kept).filter_map(|volume| volume.typed().cloned()).collect();
        let default_class = (!volumes::has_class(&claim)).then(|| {
            let all: Vec<Arc<StorageClass>> =
                (self.classes.scan("a claim has no class: the default is sought"))
                    .iter()
                    .filter_map(|class| class.typed().cloned())
                    .collect();
            volumes::default_class(all.iter().map(|class| &**class)).map(str::to_owned)
        });
        let unscheduled = |pod: &Cached<Pod>| {
            let facts = pod::facts(pod);
            facts.node_name.is_empty() && !facts.is_terminal()
        };
        let waiting = users(&self.users, round.key).into_iter().filter(unscheduled);
        Ok(claim::Observed {
            volume: None,
            class: self.classes.get("", class),
            default_class: default_class.flatten(),
            candidates,
            waiting_pods: waiting.map(|pod| pod.name().to_owned()).collect(),
            claim,
        })
    }
}
