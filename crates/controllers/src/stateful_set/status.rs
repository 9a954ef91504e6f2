//! What a set's status says of its pods.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSetSpec, StatefulSetStatus};

use super::lineup::{is_available, is_running_and_ready};
use super::names;
use crate::replicas::pod::Replica;

/// The names of the revision that pods are updated from, and of the one they are updated to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub current: &'a str,
    pub update: &'a str,
}

/// The status that reports `pods`. Conditions, which are others', stay.
pub(super) fn of<'a>(
    before: &StatefulSetStatus,
    spec: &StatefulSetSpec,
    names: Names<'_>,
    pods: impl Iterator<Item = &'a Replica>,
    now: Timestamp,
) -> StatefulSetStatus {
    let min_ready_s = spec.min_ready_seconds.unwrap_or(0);
    let (mut all, mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0, 0);
    for pod in pods {
        all += 1;
        if is_running_and_ready(pod) {
            ready += 1;
            available += i32::from(is_available(pod, min_ready_s, now));
        }
        if !pod.is_being_deleted() {
            let revision = names::revision(pod);
            current += i32::from(revision == names.current);
            updated += i32::from(revision == names.update);
        }
    }
    StatefulSetStatus {
        replicas: all,
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        current_replicas: Some(current),
        updated_replicas: Some(updated),
        current_revision: Some(names.current.to_owned()),
        update_revision: Some(names.update.to_owned()),
        ..before.clone()
    }
}

/// An update is complete once all pods are of the new revision and ready: what was new is the current revision.
pub(super) fn complete(status: &mut StatefulSetStatus, spec: &StatefulSetSpec) {
    let wanted = spec.replicas.unwrap_or(1);
    let all = |count: Option<i32>| count.unwrap_or(0) == wanted;
    let rolling = is_rolling(spec);
    if rolling && status.replicas == wanted && all(status.updated_replicas) && all(status.ready_replicas) {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
}

pub(super) fn is_rolling(spec: &StatefulSetSpec) -> bool {
    let strategy = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    strategy.unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// The status as it is stored, which leaves out figures that are zero.
pub(super) fn stored(status: StatefulSetStatus) -> StatefulSetStatus {
    let figure = |count: Option<i32>| count.filter(|count| *count != 0);
    StatefulSetStatus {
        ready_replicas: figure(status.ready_replicas),
        current_replicas: figure(status.current_replicas),
        updated_replicas: figure(status.updated_replicas),
        available_replicas: status.available_replicas.or(Some(0)),
        conditions: status.conditions.filter(|conditions| !conditions.is_empty()),
        ..status
    }
}
