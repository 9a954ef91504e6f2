//! Which owners a claim has, so that the garbage collector takes the claim with its pod or its set
//! (`isClaimOwnerUpToDate` and `updateClaimOwnerRefForSetAndPod` of `stateful_set_utils.go`).

use client::EventType;
use informer::{Action, Cached, Owner};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use super::names::{self, Claims, claims_of};
use crate::target::{controller_reference, update};

/// Whether claims go when their set is deleted, and when their pods are scaled away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retention {
    pub when_deleted: bool,
    pub when_scaled: bool,
}

pub(super) fn of(spec: &StatefulSetSpec) -> Retention {
    let policy = spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = |value: Option<&String>| value.is_some_and(|value| value == "Delete");
    Retention {
        when_deleted: deletes(policy.and_then(|p| p.when_deleted.as_ref())),
        when_scaled: deletes(policy.and_then(|p| p.when_scaled.as_ref())),
    }
}

/// The two who may own a claim: the set, and the pod of the claim's ordinal.
pub(super) struct Owners {
    set: OwnerReference,
    pod: OwnerReference,
    retention: Retention,
    /// Whether the pod's ordinal is wanted no more.
    scaled_away: bool,
}

impl Owners {
    /// `pod_uid` is empty for a pod that does not exist yet.
    pub fn new(set: &StatefulSet, spec: &StatefulSetSpec, ordinal: i32, pod_uid: &str) -> Self {
        let pod = OwnerReference {
            api_version: Pod::api_version(&()).into_owned(),
            kind: Pod::kind(&()).into_owned(),
            name: names::pod_name(names::set_name(set), ordinal),
            uid: pod_uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        let scaled_away = !names::wanted(spec).contains(&ordinal);
        Self { set: controller_reference(set), pod, retention: of(spec), scaled_away }
    }

    /// The references that a claim should have: to the set, to the pod.
    fn wanted(&self) -> (bool, bool) {
        let Retention { when_deleted, when_scaled } = self.retention;
        match (when_scaled, when_deleted) {
            (false, deleted) => (deleted, false),
            (true, deleted) => (deleted && !self.scaled_away, self.scaled_away),
        }
    }

    /// Whether the claim was another's, an object of the same name that is gone.
    pub fn is_stale(&self, claim: &Cached<PersistentVolumeClaim>) -> bool {
        let first = |owner: &OwnerReference| claim.owners.iter().find(|held| is(held, owner));
        first(&self.pod).is_some_and(|held| *held.uid != *self.pod.uid)
    }

    fn is_stale_of_set(&self, claim: &Cached<PersistentVolumeClaim>) -> bool {
        let held = claim.owners.iter().find(|held| is(held, &self.set));
        held.is_some_and(|held| *held.uid != *self.set.uid)
    }

    /// Whether somebody else controls a claim that a policy would let go.
    fn is_others(&self, claim: &Cached<PersistentVolumeClaim>) -> bool {
        if self.retention == (Retention { when_deleted: false, when_scaled: false }) {
            return false;
        }
        claim.owners.iter().any(|held| {
            for own in [&self.set, &self.pod] {
                if is(held, own) {
                    return *held.uid != *own.uid;
                }
            }
            held.controller == Some(true)
        })
    }

    fn owns(&self, claim: &Cached<PersistentVolumeClaim>) -> (bool, bool) {
        let has = |owner: &OwnerReference| claim.owners.iter().any(|held| *held.uid == *owner.uid);
        (has(&self.set), has(&self.pod))
    }

    /// Whether the claim's owners are as they should be, or not to be touched.
    fn are_right(&self, claim: &Cached<PersistentVolumeClaim>) -> bool {
        if self.is_stale(claim) || self.is_stale_of_set(claim) {
            return true;
        }
        let owns = self.owns(claim);
        if self.is_others(claim) {
            return owns == (false, false);
        }
        let mut own =
            claim.owners.iter().filter(|held| *held.uid == *self.set.uid || *held.uid == *self.pod.uid);
        own.all(|held| held.controller == Some(true)) && owns == self.wanted()
    }

    fn corrected(&self, claim: &Cached<PersistentVolumeClaim>) -> Option<PersistentVolumeClaim> {
        let mut claim_object = PersistentVolumeClaim::clone(claim.typed()?);
        let mut owners = claim_object.metadata.owner_references.take().unwrap_or_default();
        owners.retain(|held| {
            ![&self.set, &self.pod].iter().any(|own| {
                held.api_version == own.api_version && held.kind == own.kind && held.name == own.name
            })
        });
        if !self.is_others(claim) {
            let (set, pod) = self.wanted();
            owners.extend(set.then(|| self.set.clone()));
            owners.extend(pod.then(|| self.pod.clone()));
        }
        claim_object.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
        Some(claim_object)
    }
}

fn is(held: &Owner, owner: &OwnerReference) -> bool {
    *held.api_version == *owner.api_version && *held.kind == *owner.kind && *held.name == *owner.name
}

/// Gives the claims of a pod the owners that the set's policy wants.
pub(super) fn corrections(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    held: &Claims,
    (ordinal, pod_uid): (i32, &str),
) -> Vec<Action> {
    let owners = Owners::new(set, spec, ordinal, pod_uid);
    let mut actions = Vec::new();
    for (_, name) in claims_of(names::set_name(set), spec, ordinal) {
        let Some(claim) = held.get(&name).filter(|claim| !owners.are_right(claim)) else { continue };
        if owners.is_others(claim) {
            let message = format!(
                "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging controller, \
                 the retention policy is ignored for this claim"
            );
            actions.push(Action::Event {
                about: client::reference(set),
                event_type: EventType::Warning,
                reason: "ConflictingController",
                message,
            });
        }
        actions.extend(owners.corrected(claim).map(|corrected| update(&corrected)));
    }
    actions
}

/// Whether a claim of a pod that is to be made still belongs to the pod of old, with which the claim will go.
pub(super) fn is_stale(set: &StatefulSet, spec: &StatefulSetSpec, held: &Claims, ordinal: i32) -> bool {
    let owners = Owners::new(set, spec, ordinal, "");
    owners.retention.when_scaled
        && claims_of(names::set_name(set), spec, ordinal)
            .any(|(_, name)| held.get(&name).is_some_and(|claim| owners.is_stale(claim)))
}
