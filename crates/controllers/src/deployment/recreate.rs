//! The Recreate strategy: all old pods end before the first new one starts.

use std::sync::Arc;

use informer::controller_of;
use k8s_openapi::api::core::v1::Pod;

use super::rollout::Rollout;
use crate::replicas::pod;

/// Scales all old sets to zero; returns whether any set had to be scaled.
pub(super) fn stop_old(rollout: &mut Rollout<'_>) -> bool {
    let (replicas, ceiling) = (rollout.replicas, rollout.ceiling());
    let mut stopped = false;
    for revision in rollout.old.iter_mut().filter(|r| r.replicas > 0) {
        Rollout::resize(revision, 0, replicas, ceiling);
        stopped = true;
    }
    stopped
}

/// Whether pods of old revisions still run, including pods that are being deleted.
pub(super) fn old_pods_run(rollout: &Rollout<'_>, pods: &[Arc<Pod>]) -> bool {
    if rollout.old.iter().any(|r| r.actual() > 0) {
        return true;
    }
    let old = |uid: &str| rollout.old.iter().any(|r| r.set.metadata.uid.as_deref() == Some(uid));
    pods.iter().any(|p| !pod::is_terminal(p) && controller_of(&**p).is_some_and(|owner| old(&owner.uid)))
}

/// Scales the new set to the wanted number of pods.
pub(super) fn start_new(rollout: &mut Rollout<'_>) {
    let (replicas, ceiling) = (rollout.replicas, rollout.ceiling());
    if let Some(new) = rollout.new.as_mut().filter(|new| new.replicas != replicas) {
        Rollout::resize(new, replicas, replicas, ceiling);
    }
}
