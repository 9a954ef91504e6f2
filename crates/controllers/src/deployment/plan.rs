//! The decision: which mode the deployment is in, the sizes that follow, and the writes that make them so.

use std::sync::Arc;

use client::EventType;
use informer::{Action, DeletePolicy, FailedWrite, Failure, Plan, controller_of};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::rollout::{Revision, Rollout};
use super::status::{self, PROGRESSING};
use super::{limits, progress, proportional, recreate, revision, rolling};
use crate::target::{controller_reference, dynamic, target, target_of, update_status};

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    pub deployment: Arc<Deployment>,
    /// Sets the deployment owns or is to adopt.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Sets the deployment owns that its selector no longer selects.
    pub strays: Vec<Arc<ReplicaSet>>,
    /// Others' sets whose names begin like this deployment's.
    pub namesakes: Vec<Arc<ReplicaSet>>,
    /// Pods of its sets; needed for Recreate alone.
    pub pods: Vec<Arc<Pod>>,
    /// The failure of the last plan.
    pub failure: Option<Failure>,
}

/// What is done in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Being deleted: only the status is written.
    Tell,
    /// Paused, or scaled since the last round: the existing sets are resized.
    Scale,
    Roll,
    Recreate,
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let deployment = &*observed.deployment;
    let Some(spec) = &deployment.spec else { return Plan::nothing() };
    if selects_everything(spec) {
        return selecting_all(deployment);
    }
    let mut plan = Plan::nothing();
    claim(&mut plan, observed);
    let mut rollout = Rollout::new(deployment, spec, &observed.sets, now);
    let before = deployment.status.clone().unwrap_or_default();
    let mut base = before.clone();
    let deleting = deployment.metadata.deletion_timestamp.is_some();
    if !deleting {
        progress::note_pause(&rollout, &mut base);
    }
    let mode = mode(&rollout, deleting);
    if mode != Mode::Tell {
        revision::keep_up(&mut rollout);
    }
    note_found(&rollout, &mut base);
    let ready = size(&mut rollout, mode, observed);
    if ready && rollout.new.is_none() && matches!(mode, Mode::Roll | Mode::Recreate) {
        let (name, hash) = revision::new_name(&rollout);
        if observed.sets.iter().chain(&observed.namesakes).any(|s| s.metadata.name.as_ref() == Some(&name)) {
            return taken(plan, deployment, &before, &name);
        }
        make_new(&mut plan, &mut rollout, &mut base, observed, (&name, &hash));
    }
    write_sets(&mut plan, &rollout);
    let mut status = status::calculate(&rollout, &base);
    if matches!(mode, Mode::Roll | Mode::Recreate) {
        progress::estimate(&rollout, &base, &mut status);
    }
    if progress::is_complete(&rollout, &status) || spec.paused == Some(true) {
        clean_up(&mut plan, &rollout, mode);
    }
    if let Some(after) = progress::check_after(&rollout, &status) {
        plan.look_again(after);
    }
    write_status(&mut plan, deployment, noting_revision(&rollout), status);
    plan.because(format!("{mode:?}: {} of {} pods", rollout.total(), rollout.replicas))
}

fn mode(rollout: &Rollout<'_>, deleting: bool) -> Mode {
    if deleting {
        Mode::Tell
    } else if rollout.spec.paused == Some(true) || rollout.was_scaled() {
        Mode::Scale
    } else if limits::is_rolling(rollout.spec) {
        Mode::Roll
    } else {
        Mode::Recreate
    }
}

/// Resizes the existing sets; returns whether the new set may be made if it does not exist.
fn size(rollout: &mut Rollout<'_>, mode: Mode, observed: &Observed) -> bool {
    match mode {
        Mode::Tell => false,
        Mode::Scale => {
            proportional::scale(rollout);
            false
        }
        Mode::Roll if rollout.new.is_none() => true,
        Mode::Roll => {
            rolling::step(rollout);
            true
        }
        Mode::Recreate => {
            if recreate::stop_old(rollout) || recreate::old_pods_run(rollout, &observed.pods) {
                return false;
            }
            recreate::start_new(rollout);
            true
        }
    }
}

fn make_new(
    plan: &mut Plan,
    rollout: &mut Rollout<'_>,
    base: &mut DeploymentStatus,
    observed: &Observed,
    (name, hash): (&str, &str),
) {
    let tells = progress::deadline_s(rollout).is_some();
    let failure = observed.failure.as_ref().filter(|f| f.write == FailedWrite::Create);
    if let Some(failure) = failure {
        // Told before the next try, which may fail as well and end the round.
        tell_creation_failure(plan, rollout, base, format!("{name:?}: {}", failure.message));
    }
    if tells {
        let message = format!("Created new replica set {name:?}");
        let made = status::condition(PROGRESSING, "True", "NewReplicaSetCreated", message, rollout.now);
        status::set(base, made);
    }
    revision::make_new(rollout, name, hash);
    if limits::is_rolling(rollout.spec) {
        // A new set made at its full allowance leaves old ones to scale down in the same round.
        rolling::step(rollout);
    }
}

fn tell_creation_failure(plan: &mut Plan, rollout: &Rollout<'_>, base: &DeploymentStatus, what: String) {
    const REASON: &str = "ReplicaSetCreateError";
    let message = format!("Failed to create new replica set {what}");
    plan.then(Action::Event {
        about: client::reference(rollout.deployment),
        event_type: EventType::Warning,
        reason: REASON,
        message: message.clone(),
    });
    if progress::deadline_s(rollout).is_some() {
        let mut failed = base.clone();
        status::set(&mut failed, status::condition(PROGRESSING, "False", REASON, message, rollout.now));
        write_status(plan, rollout.deployment, rollout.deployment.clone(), failed);
    }
}

fn selects_everything(spec: &DeploymentSpec) -> bool {
    spec.selector.match_labels.as_ref().is_none_or(|l| l.is_empty())
        && spec.selector.match_expressions.as_ref().is_none_or(|e| e.is_empty())
}

fn selecting_all(deployment: &Deployment) -> Plan {
    let mut plan = Plan::nothing();
    plan.then(Action::Event {
        about: client::reference(deployment),
        event_type: EventType::Warning,
        reason: "SelectingAll",
        message: "This deployment is selecting all pods. A non-empty selector is required.".to_owned(),
    });
    let before = deployment.status.clone().unwrap_or_default();
    let status = DeploymentStatus { observed_generation: deployment.metadata.generation, ..before };
    write_status(&mut plan, deployment, deployment.clone(), status);
    plan.because("the selector is empty")
}

/// Adopts the orphans among its sets and releases strays.
fn claim(plan: &mut Plan, observed: &Observed) {
    let owner = controller_reference(&*observed.deployment);
    for orphan in observed.sets.iter().filter(|s| controller_of(&***s).is_none()) {
        plan.then(Action::StrategicPatch {
            target: target_of(&**orphan),
            patch: json!({"metadata": {"ownerReferences": [owner], "uid": orphan.metadata.uid}}),
        });
    }
    for stray in &observed.strays {
        let gone = json!({"$patch": "delete", "uid": owner.uid});
        plan.then(Action::StrategicPatch {
            target: target_of(&**stray),
            patch: json!({"metadata": {"ownerReferences": [gone], "uid": stray.metadata.uid}}),
        });
    }
}

/// Reports in the condition a set that existed before progress was tracked.
fn note_found(rollout: &Rollout<'_>, status: &mut DeploymentStatus) {
    let Some(new) = &rollout.new else { return };
    if progress::deadline_s(rollout).is_some() && status::find(status, PROGRESSING).is_none() {
        let message = format!("Found new replica set {:?}", new.name());
        let found = status::condition(PROGRESSING, "True", "FoundNewReplicaSet", message, rollout.now);
        status::set(status, found);
    }
}

/// The name of the new set is taken by another set: the next round uses another hash.
fn taken(mut plan: Plan, deployment: &Deployment, before: &DeploymentStatus, name: &str) -> Plan {
    let collisions = before.collision_count.unwrap_or(0) + 1;
    let status = DeploymentStatus { collision_count: Some(collisions), ..before.clone() };
    write_status(&mut plan, deployment, deployment.clone(), status);
    plan.because(format!("the name {name} is taken"))
}

fn write_sets(plan: &mut Plan, rollout: &Rollout<'_>) {
    for revision in rollout.new.iter().chain(&rollout.old) {
        if revision.is_new {
            let object = dynamic(&revision::object(revision));
            let namespace = revision.set.metadata.namespace.as_deref().unwrap_or("");
            plan.then(Action::Create { target: target::<ReplicaSet>(namespace, ""), object });
        } else if let Some(patch) = revision.changes() {
            plan.then(Action::MergePatch { target: target_of(&*revision.set), patch });
        }
        tell_scaling(plan, rollout.deployment, revision);
    }
}

fn tell_scaling(plan: &mut Plan, deployment: &Deployment, revision: &Revision) {
    let (from, to) = (revision.size_before(), revision.replicas);
    let direction = match from.cmp(&to) {
        std::cmp::Ordering::Less => "up",
        std::cmp::Ordering::Greater => "down",
        std::cmp::Ordering::Equal => return,
    };
    plan.then(Action::Event {
        about: client::reference(deployment),
        event_type: EventType::Normal,
        reason: "ScalingReplicaSet",
        message: format!("Scaled {direction} replica set {} from {from} to {to}", revision.name()),
    });
}

fn clean_up(plan: &mut Plan, rollout: &Rollout<'_>, mode: Mode) {
    if mode == Mode::Tell {
        return;
    }
    for revision in revision::beyond_history(rollout) {
        plan.then(Action::Delete {
            target: target_of(&*revision.set),
            policy: DeletePolicy { uid: revision.set.metadata.uid.clone(), ..DeletePolicy::default() },
        });
    }
}

/// The deployment with the number of its present revision; unchanged if it has that number already.
fn noting_revision(rollout: &Rollout<'_>) -> Deployment {
    let mut noted = rollout.deployment.clone();
    if let Some(number) = rollout.new.as_ref().and_then(|new| new.annotation(revision::REVISION)) {
        let annotations = noted.metadata.annotations.get_or_insert_default();
        annotations.insert(revision::REVISION.to_owned(), number.to_owned());
    }
    noted
}

/// Writes the status if it has changed. Annotations are written with it, as upstream does: one write,
/// and no other right than that to the status.
fn write_status(plan: &mut Plan, deployment: &Deployment, noted: Deployment, status: DeploymentStatus) {
    let changed = deployment.status.as_ref().is_none_or(|before| *before != status);
    if changed || deployment.metadata.annotations != noted.metadata.annotations {
        plan.then(update_status(&Deployment { status: Some(status), ..noted }));
    }
}
