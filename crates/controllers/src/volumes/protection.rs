//! Keeps claims that pods use and volumes that are bound: their finalizers go when nothing uses them any more.
//! Upstream: `pkg/controller/volume/pvcprotection`, `pvprotection`.

use std::sync::Arc;

use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Resource};
use pods::volumes::{self, CLAIM_PROTECTION, VOLUME_PROTECTION};
use serde::Serialize;

use super::binder;
use crate::replicas::pod;
use crate::target::update;

/// Keeps claims that pods use. Keys are claims.
pub struct ClaimProtectionController {
    claims: Cache<PersistentVolumeClaim>,
    /// Pods by the claims that they use.
    users: Index<Pod>,
}

/// Keeps volumes that are bound. Keys are volumes.
pub struct VolumeProtectionController {
    volumes: Cache<PersistentVolume>,
}

/// An object, and whether something uses it; asked only of one that is being deleted.
pub struct Observed<K> {
    pub(super) object: Arc<K>,
    pub(super) is_used: bool,
}

fn finalizers(meta: &ObjectMeta) -> &[String] {
    meta.finalizers.as_deref().unwrap_or_default()
}

pub(super) fn is_held(meta: &ObjectMeta, finalizer: &str) -> bool {
    finalizers(meta).iter().any(|held| held == finalizer)
}

/// Whether the finalizer of a cached object is missing, or may have to go.
pub(super) fn concerns<K: informer::Kind>(object: &Cached<K>, finalizer: &str) -> bool {
    let held = object.finalizers.iter().any(|held| **held == *finalizer);
    held == object.is_being_deleted()
}

pub(super) fn protect<K>(observed: &Observed<K>, finalizer: &str) -> Plan
where
    K: Resource<DynamicType = ()> + Clone + Serialize,
{
    let Observed { object, is_used } = observed;
    let mut plan = Plan::nothing();
    let (is_held, is_going) = (is_held(object.meta(), finalizer), object.meta().deletion_timestamp.is_some());
    let mut new = K::clone(object);
    match (is_going, is_held) {
        (true, true) if *is_used => return plan.because("it is in use"),
        (true, true) => {
            let left = finalizers(object.meta()).iter().filter(|held| *held != finalizer);
            new.meta_mut().finalizers = Some(left.cloned().collect());
        }
        (false, false) => new.meta_mut().finalizers.get_or_insert_default().push(finalizer.to_owned()),
        _ => return plan,
    }
    plan.then(update(&new));
    plan
}

/// Whether the pod, once it has a node, uses the claim. A pod that is only waiting to be forgotten does not hold what was
/// made for it.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let meta = &pod.metadata;
    let is_shut_down = meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds == Some(0);
    let uid = meta.uid.as_deref().unwrap_or_default();
    !pods::node_name(pod).is_empty()
        && volumes::claims_of(pod).iter().any(|used| {
            *used.name == *name && (!used.is_ephemeral || !is_shut_down && volumes::is_of_pod(claim, uid))
        })
}

/// The claims that a change of a pod may free.
fn freed(delta: &Delta<Pod>) -> Vec<Key> {
    let pod = delta.object();
    let facts = pod::facts(pod);
    let may_free = matches!(delta, Delta::Deleted(_))
        || facts.is_terminal()
        || facts.node_name.is_empty()
        || pod.is_being_deleted();
    let mut keys = Vec::new();
    // One that has come in another's place between two looks.
    let other = delta.old().filter(|old| old.uid != pod.uid).map(|old| (old, pod::facts(old)));
    for (state, facts) in other.into_iter().chain(may_free.then_some((pod, facts))) {
        keys.extend(facts.claims.iter().map(|used| Key::new(state.namespace(), &used.name)));
    }
    keys
}

impl Controller for ClaimProtectionController {
    const NAME: &'static str = "persistentvolumeclaim-protection-controller";
    const ACCOUNT: &'static str = "pvc-protection-controller";
    const QUEUE: &'static str = "pvcprotection";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed<PersistentVolumeClaim>;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let pods: Cache<Pod> = sources.reads();
        let users = binder::by_claim(&pods);
        let claims = sources.mapped(|delta: &Delta<PersistentVolumeClaim>| {
            let claim = delta.object();
            if concerns(claim, CLAIM_PROTECTION) { vec![claim.key.clone()] } else { Vec::new() }
        });
        sources.mapped(freed);
        Self { claims, users }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Self::Observed>, kube::Error> {
        let Some(object) = self.claims.get_key(round.key) else { return Ok(None) };
        let is_candidate =
            object.metadata.deletion_timestamp.is_some() && is_held(&object.metadata, CLAIM_PROTECTION);
        let known = binder::users(&self.users, round.key);
        let mut is_used =
            is_candidate && known.iter().filter_map(|pod| pod.typed()).any(|pod| uses(pod, &object));
        if is_candidate && !is_used {
            // A pod that the cache has not seen yet may use the claim.
            let api: Api<Pod> = Api::namespaced(round.client.clone(), &round.key.namespace);
            is_used = api.list(&ListParams::default()).await?.iter().any(|pod| uses(pod, &object));
        }
        Ok(Some(Observed { object, is_used }))
    }

    fn reconcile(observed: &Self::Observed, _: Timestamp) -> Plan {
        protect(observed, CLAIM_PROTECTION)
    }
}

impl Controller for VolumeProtectionController {
    const NAME: &'static str = "persistentvolume-protection-controller";
    const ACCOUNT: &'static str = "pv-protection-controller";
    const QUEUE: &'static str = "pvprotection";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed<PersistentVolume>;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let volumes = sources.mapped(|delta: &Delta<PersistentVolume>| {
            let volume = delta.object();
            if concerns(volume, VOLUME_PROTECTION) { vec![volume.key.clone()] } else { Vec::new() }
        });
        Self { volumes }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Self::Observed>, kube::Error> {
        let Some(object) = self.volumes.get_key(round.key) else { return Ok(None) };
        let is_used = volumes::phase(&object) == "Bound";
        Ok(Some(Observed { object, is_used }))
    }

    fn reconcile(observed: &Self::Observed, _: Timestamp) -> Plan {
        protect(observed, VOLUME_PROTECTION)
    }
}
