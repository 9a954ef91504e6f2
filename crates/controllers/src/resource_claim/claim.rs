//! Frees claims: takes away reservations of pods that do not need theirs any more, then the allocation, then the
//! finalizer; deletes a claim that was made for a pod which has ended.

use std::collections::HashSet;
use std::sync::Arc;

use informer::{Action, Cache, Cached, Controller, DeletePolicy, Delta, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::Api;
use pods::devices;

use super::by_claim;
use crate::replicas::pod;
use crate::target::{target_of, update, update_status};

/// See the module's documentation. Keys are claims.
pub struct ResourceClaimController {
    claims: Cache<ResourceClaim>,
    pods: Cache<Pod>,
}

/// A claim, and which of its pods have gone.
pub struct Observed {
    pub claim: Arc<ResourceClaim>,
    /// Uids of consumers that do not need the claim any more.
    pub gone: HashSet<String>,
    /// The pod for which the claim was made has ended or was replaced.
    pub owner_is_done: bool,
}

/// Whether a cached pod will never run a container any more.
fn is_done(pod: &Cached<Pod>) -> bool {
    let facts = pod::facts(pod);
    facts.is_terminal() || pod.is_being_deleted() && facts.node_name.is_empty()
}

/// The claims that a change of a pod may free.
fn freed(delta: &Delta<Pod>) -> Vec<Key> {
    let pod = delta.object();
    let now = (matches!(delta, Delta::Deleted(_)) || is_done(pod)).then_some(pod);
    // One that has come in another's place between two looks.
    let before = delta.old().filter(|old| old.uid != pod.uid);
    let mut keys = Vec::new();
    for pod in now.into_iter().chain(before) {
        let claims = pod::facts(pod);
        let claims = claims.device_claims.iter().filter_map(|entry| entry.claim());
        keys.extend(claims.map(|claim| Key::new(pod.namespace(), claim)));
    }
    keys
}

/// Whether a change of a claim gives work. A claim that the scheduler has protected and is about to allocate is not one
/// whose protection is left over: only the end of an allocation, or the first sight of the claim, begins its removal.
fn concerns(delta: &Delta<ResourceClaim>) -> bool {
    let Delta::Applied { new, old } = delta else { return false };
    let Some(claim) = new.typed() else { return false };
    let was_allocated =
        old.as_ref().is_none_or(|old| old.typed().is_some_and(|old| devices::allocation(old).is_some()));
    let is_owned = new.controller().is_some_and(|owner| &*owner.kind == "Pod");
    new.is_being_deleted() || was_allocated || is_owned || !devices::consumers(claim).is_empty()
}

impl Controller for ResourceClaimController {
    const NAME: &'static str = "resource-claim-cleaner";
    const ACCOUNT: &'static str = "resource-claim-controller";
    const EVENT_SOURCE: &'static str = "resource_claim";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let pods = sources.mapped(freed);
        // Makes the index that is shared with the controller of pods' claims before there are many pods.
        by_claim(&pods);
        let claims =
            sources.mapped(
                |delta: &Delta<ResourceClaim>| {
                    if concerns(delta) { vec![delta.object().key.clone()] } else { Vec::new() }
                },
            );
        Self { claims, pods }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(held) = self.claims.find(round.key) else { return Ok(None) };
        let Some(claim) = held.typed().cloned() else { return Ok(None) };
        let namespace = &round.key.namespace;
        let mut gone = HashSet::new();
        for consumer in devices::consumers(&claim).iter().filter(|consumer| devices::is_pod(consumer)) {
            let is_gone = match self.pods.find(&Key::new(namespace, &consumer.name)) {
                Some(pod) => *pod.uid != *consumer.uid || is_done(&pod),
                // The cache may not have seen the pod yet, while it is being scheduled.
                None => {
                    let api: Api<Pod> = Api::namespaced(round.client.clone(), namespace);
                    let pod = api.get_opt(&consumer.name).await?;
                    pod.is_none_or(|pod| pod.metadata.uid.as_deref() != Some(&consumer.uid))
                }
            };
            if is_gone {
                gone.insert(consumer.uid.clone());
            }
        }
        // A pod that the cache does not know is not known to be gone: then the garbage collector deletes the claim.
        let owner = held.controller().filter(|owner| &*owner.kind == "Pod" && &*owner.api_version == "v1");
        let owner_is_done = owner.is_some_and(|owner| {
            let pod = self.pods.find(&Key::new(namespace, &owner.name));
            pod.is_some_and(|pod| pod.uid != owner.uid || is_done(&pod))
        });
        Ok(Some(Observed { claim, gone, owner_is_done }))
    }

    fn reconcile(Observed { claim, gone, owner_is_done }: &Observed, _: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let consumers = devices::consumers(claim);
        if let Some(other) = consumers.iter().find(|consumer| !devices::is_pod(consumer)) {
            return plan
                .because(format!("unsupported ReservedFor entry: {} {:?}", other.resource, other.name));
        }
        let left: Vec<_> = consumers.iter().filter(|user| !gone.contains(&user.uid)).cloned().collect();
        let is_going = claim.metadata.deletion_timestamp.is_some();
        let (is_protected, is_free) = (devices::is_protected(claim), left.is_empty());
        let is_allocated = devices::allocation(claim).is_some();
        let lost_consumers = left.len() < consumers.len();
        if lost_consumers || is_free && is_protected && is_going && is_allocated {
            let mut new = ResourceClaim::clone(claim);
            let status = new.status.get_or_insert_default();
            status.reserved_for = Some(left).filter(|left| !left.is_empty());
            // The last one has gone: what others are to use is chosen anew.
            if is_free && is_protected {
                status.allocation = None;
            }
            plan.then(update_status(&new));
        } else if is_free && is_protected && !is_allocated {
            let mut new = ResourceClaim::clone(claim);
            let finalizers = new.metadata.finalizers.get_or_insert_default();
            finalizers.retain(|finalizer| finalizer != devices::PROTECTION);
            plan.then(update(&new));
        }
        if is_free && *owner_is_done && !is_going {
            plan.then(Action::Delete {
                target: target_of(&**claim),
                policy: DeletePolicy { uid: claim.metadata.uid.clone(), ..DeletePolicy::default() },
            });
        }
        plan
    }
}
