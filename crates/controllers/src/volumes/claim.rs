//! Decides about one claim: which volume it gets, or what it waits for. Pure. Upstream: `syncClaim` of
//! `pkg/controller/volume/persistentvolume`.
//!
//! A binding is written in steps, each bound to the version that was read: the volume's side first, so that a claim
//! never counts on a volume that another one has. What was written wakes the claim for the next step.

use std::sync::Arc;

use client::EventType;
use informer::{Action, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use pods::volumes::{self, Search};

use super::{annotate, volume as of_volume};
use crate::target::{update, update_status};

/// A claim and what it could have.
#[derive(Default)]
pub struct Observed {
    pub claim: Arc<PersistentVolumeClaim>,
    /// The volume that the claim names.
    pub volume: Option<Arc<PersistentVolume>>,
    /// The claim's class, where it is wanted and there is one.
    pub class: Option<Arc<StorageClass>>,
    /// The class that claims without one get, for such a claim.
    pub default_class: Option<String>,
    /// Volumes of the claim's class that no claim has, and those that are kept for this claim.
    pub candidates: Vec<Arc<PersistentVolume>>,
    /// Pods without a node that use the claim.
    pub waiting_pods: Vec<String>,
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let claim = &*observed.claim;
    if volumes::is_bind_completed(claim) {
        return bound(observed, now);
    }
    if volumes::volume_name(claim).is_empty() {
        return wanting(observed, now);
    }
    let Some(volume) = &observed.volume else {
        return pending(claim, Plan::nothing()).because("the volume that the claim names is not there");
    };
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    match volumes::claim_of(volume) {
        None => match volumes::misfit(volume, claim) {
            None => bind(claim, volume, now),
            Some(why) => {
                let message = format!("Cannot bind to requested volume {name:?}: {why}");
                pending(claim, tell(claim, EventType::Warning, "VolumeMismatch", message))
            }
        },
        Some(_) if volumes::is_bound_to(volume, claim) => bind(claim, volume, now),
        Some(_) => {
            let message = format!("volume {name:?} already bound to a different claim.");
            pending(claim, tell(claim, EventType::Warning, "FailedBinding", message))
        }
    }
}

/// A claim whose binding was completed once.
fn bound(observed: &Observed, now: Timestamp) -> Plan {
    let claim = &*observed.claim;
    if volumes::volume_name(claim).is_empty() {
        let message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", message);
    }
    let Some(volume) = &observed.volume else {
        let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", message);
    };
    match volumes::claim_of(volume) {
        Some(of) if of.uid != claim.metadata.uid => {
            let message = "Two claims are bound to the same volume, this one is bound incorrectly";
            lost(claim, "ClaimMisbound", message)
        }
        _ => bind(claim, volume, now),
    }
}

/// A claim that names no volume.
fn wanting(observed: &Observed, now: Timestamp) -> Plan {
    let claim = &*observed.claim;
    if claim.metadata.deletion_timestamp.is_some() {
        return Plan::nothing().because("the claim goes without having had a volume");
    }
    let is_delayed = observed.class.as_ref().is_some_and(|class| volumes::is_delayed(class));
    let search = if is_delayed { Search::Delayed } else { Search::Immediate };
    if let Some(volume) = volumes::best_match(claim, observed.candidates.iter(), search) {
        return bind(claim, volume, now);
    }
    if let Some(class) = &observed.default_class {
        let mut new = claim.clone();
        new.spec.get_or_insert_default().storage_class_name = Some(class.clone());
        let mut plan = Plan::nothing();
        plan.then(update(&new));
        return plan.because("the claim gets the default class");
    }
    let is_selected = volumes::annotation(&claim.metadata.annotations, volumes::SELECTED_NODE).is_some();
    let plan = if is_delayed && !is_selected {
        let (reason, message) = waited_for(&observed.waiting_pods);
        tell(claim, EventType::Normal, reason, message)
    } else if volumes::class_of_claim(claim).is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        tell(claim, EventType::Normal, "FailedBinding", message.to_owned())
    } else {
        provision(claim, observed.class.as_deref())
    };
    // What was changed is reported on when it is back.
    if plan.actions.iter().any(|action| matches!(action, Action::Update { .. })) {
        return plan;
    }
    pending(claim, plan)
}

fn waited_for(pods: &[String]) -> (&'static str, String) {
    match pods {
        [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
        [one] => ("WaitForPodScheduled", format!("waiting for pod {one} to be scheduled")),
        many => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", many.join(","))),
    }
}

/// Asks the class's provisioner for a volume.
fn provision(claim: &PersistentVolumeClaim, class: Option<&StorageClass>) -> Plan {
    let Some(class) = class else {
        let name = volumes::class_of_claim(claim);
        let message = format!("storageclass.storage.k8s.io {name:?} not found");
        return tell(claim, EventType::Warning, "ProvisioningFailed", message);
    };
    let provisioner = &class.provisioner;
    if provisioner.starts_with("kubernetes.io/") {
        let message = format!("no volume plugin matched name: {provisioner}");
        return tell(claim, EventType::Warning, "ProvisioningFailed", message);
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    let mut plan = Plan::nothing();
    let mut new = claim.clone();
    let marks = [volumes::BETA_STORAGE_PROVISIONER, volumes::STORAGE_PROVISIONER];
    if marks.map(|mark| annotate(&mut new.metadata, mark, provisioner)).contains(&true) {
        plan.then(update(&new));
    }
    plan.actions.extend(tell(claim, EventType::Normal, "ExternalProvisioning", message).actions);
    plan
}

/// The next step of a binding that nothing is in the way of.
fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    if let Some(taken) = taken(claim, volume) {
        plan.then(update(&taken));
        return plan.because("the volume is taken for the claim");
    }
    plan.actions.extend(of_volume::phase(volume, "Bound", None, now));
    let mut new = claim.clone();
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let mut is_changed = false;
    if volumes::volume_name(claim) != name {
        new.spec.get_or_insert_default().volume_name = Some(name.to_owned());
        annotate(&mut new.metadata, volumes::BOUND_BY_CONTROLLER, "yes");
        is_changed = true;
    }
    if annotate(&mut new.metadata, volumes::BIND_COMPLETED, "yes") || is_changed {
        plan.then(update(&new));
        return plan.because("the claim takes the volume");
    }
    plan.actions.extend(has(claim, volume));
    plan
}

/// The volume as the claim's own, where it is not yet.
fn taken(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<PersistentVolume> {
    let held = volumes::claim_of(volume);
    if held.is_some_and(|of| volumes::is_bound_to(volume, claim) && of.uid == claim.metadata.uid) {
        return None;
    }
    let mut new = volume.clone();
    if !volumes::is_bound_to(volume, claim) {
        annotate(&mut new.metadata, volumes::BOUND_BY_CONTROLLER, "yes");
    }
    new.spec.get_or_insert_default().claim_ref = Some(client::reference(claim));
    Some(new)
}

/// The report that the claim is bound, where its status does not say so.
fn has(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<Action> {
    let spec = volume.spec.as_ref();
    let mut new = claim.clone();
    let status = new.status.get_or_insert_default();
    let was_bound = status.phase.as_deref() == Some("Bound");
    status.phase = Some("Bound".to_owned());
    status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
    // The capacity of a bound claim changes with a resize alone.
    if !was_bound || status.capacity.as_ref().is_none_or(|capacity| !capacity.contains_key("storage")) {
        let capacity = spec.and_then(|spec| spec.capacity.as_ref()?.get("storage").cloned());
        status.capacity = capacity.map(|capacity| [("storage".to_owned(), capacity)].into());
    }
    let attributes = spec.and_then(|spec| spec.volume_attributes_class_name.clone());
    status.current_volume_attributes_class_name = attributes;
    (new != *claim).then(|| update_status(&new))
}

fn event(about: ObjectReference, event_type: EventType, reason: &'static str, message: String) -> Action {
    Action::Event { about, event_type, reason, message }
}

fn tell(claim: &PersistentVolumeClaim, event_type: EventType, reason: &'static str, message: String) -> Plan {
    let mut plan = Plan::nothing().because(message.clone());
    plan.then(event(client::reference(claim), event_type, reason, message));
    plan
}

/// The status of a claim without a volume.
fn unbound(claim: &PersistentVolumeClaim, phase: &str) -> Option<Action> {
    let mut new = claim.clone();
    let status = new.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    (status.access_modes, status.capacity) = (None, None);
    (new != *claim).then(|| update_status(&new))
}

fn pending(claim: &PersistentVolumeClaim, mut plan: Plan) -> Plan {
    plan.actions.extend(unbound(claim, "Pending"));
    plan
}

/// The report that the claim's volume is lost, once.
fn lost(claim: &PersistentVolumeClaim, reason: &'static str, message: &str) -> Plan {
    let mut plan = Plan::nothing().because(message);
    let was_lost = claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Lost"));
    plan.actions.extend(unbound(claim, "Lost"));
    if !was_lost {
        plan.then(event(client::reference(claim), EventType::Warning, reason, message.to_owned()));
    }
    plan
}
