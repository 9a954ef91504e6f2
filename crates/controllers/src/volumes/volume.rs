//! Decides about one volume: its phase, and what becomes of it when its claim is gone. Pure. Upstream: `syncVolume` of
//! `pkg/controller/volume/persistentvolume`.

use std::sync::Arc;

use client::EventType;
use informer::{Action, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pods::volumes;

use crate::target::{update, update_status};

/// A volume, and the claim it is bound to: the very one, by its uid.
pub struct Observed {
    pub volume: Arc<PersistentVolume>,
    pub claim: Option<Arc<PersistentVolumeClaim>>,
}

pub(super) fn plan(Observed { volume, claim }: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let Some(of) = volumes::claim_of(volume).filter(|of| !volumes::uid(of).is_empty()) else {
        plan.actions.extend(phase(volume, "Available", None, now));
        return plan;
    };
    let Some(claim) = claim else {
        let name = of.name.as_deref().unwrap_or_default();
        return release(volume, now).because(format!("its claim {name} is gone"));
    };
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let held = volumes::volume_name(claim);
    if held == name {
        plan.actions.extend(phase(volume, "Bound", None, now));
        return plan;
    }
    if held.is_empty() {
        if volumes::differ_in_mode(volume, claim) {
            return mismatch(volume, claim);
        }
        return plan.because("the claim takes the volume next");
    }
    let is_made_for_it = volumes::annotation(&volume.metadata.annotations, volumes::PROVISIONED_BY).is_some()
        && policy(volume) == "Delete";
    if is_made_for_it {
        return release(volume, now).because("its claim has got another volume");
    }
    plan.then(update(&given_up(volume)));
    plan.because("its claim has got another volume")
}

fn policy(volume: &PersistentVolume) -> &str {
    let spec = volume.spec.as_ref();
    spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or_default()
}

/// A volume that its claim does not want: free if the binder chose it, and still kept for a claim of the name if the user
/// did.
fn given_up(volume: &PersistentVolume) -> PersistentVolume {
    let mut new = volume.clone();
    let annotations = new.metadata.annotations.get_or_insert_default();
    let was_chosen = annotations.remove(volumes::BOUND_BY_CONTROLLER).is_some();
    let spec = new.spec.get_or_insert_default();
    if was_chosen {
        spec.claim_ref = None;
    } else if let Some(of) = &mut spec.claim_ref {
        of.uid = None;
    }
    new
}

fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Plan {
    let mut plan = Plan::nothing();
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let (of_volume, of_claim) = (name(&volume.metadata.name), name(&claim.metadata.name));
    let mut event = |about, message: String| {
        plan.then(Action::Event { about, event_type: EventType::Warning, reason: "VolumeMismatch", message });
    };
    event(
        client::reference(volume),
        format!(
            "Cannot bind PersistentVolume to requested PersistentVolumeClaim {of_claim:?} due to incompatible \
             volumeMode."
        ),
    );
    event(
        client::reference(claim),
        format!(
            "Cannot bind PersistentVolume {of_volume:?} to requested PersistentVolumeClaim due to incompatible \
             volumeMode."
        ),
    );
    plan
}

/// What becomes of a volume without its claim. Who has provisioned it deletes it.
fn release(volume: &PersistentVolume, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let is_told = matches!(volumes::phase(volume), "Released" | "Failed");
    if !is_told {
        plan.actions.extend(phase(volume, "Released", None, now));
        // The reclaim follows when the phase is back.
        return plan;
    }
    let is_provisioned = volumes::annotation(&volume.metadata.annotations, volumes::PROVISIONED_BY).is_some();
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let failure = match policy(volume) {
        "Retain" => return plan,
        "Delete" if is_provisioned => return plan,
        "Delete" => (
            "VolumeFailedDelete",
            format!(
                "error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"
            ),
        ),
        "Recycle" => ("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned()),
        _ => ("VolumeUnknownReclaimPolicy", "Volume has unrecognized reclaim policy".to_owned()),
    };
    let (reason, message) = failure;
    if let Some(action) = phase(volume, "Failed", Some(&message), now) {
        plan.then(action);
        let about = client::reference(volume);
        plan.then(Action::Event { about, event_type: EventType::Warning, reason, message });
    }
    plan
}

/// The report of a phase, where the status has another.
pub(super) fn phase(
    volume: &PersistentVolume,
    phase: &str,
    message: Option<&str>,
    now: Timestamp,
) -> Option<Action> {
    if volumes::phase(volume) == phase {
        return None;
    }
    let mut new = volume.clone();
    let status = new.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    status.message = message.map(str::to_owned);
    status.reason = None;
    status.last_phase_transition_time = Some(Time(now));
    Some(update_status(&new))
}
