//! Which pods belong to which workload: a workload adopts pods without a controller that its selector
//! selects, and releases its own pods that the selector no longer selects
//! (`pkg/controller/controller_ref_manager.go`).

use informer::Action;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::pod::Replica;
use super::workload::Workload;
use crate::target::target;

/// A workload's relation to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Owned,
    /// An orphan to adopt.
    Adopt,
    /// Owned, but not selected.
    Release,
    /// Owned by another controller, or an orphan that is not selected.
    Foreign,
}

pub(super) fn of(workload: &Workload, candidate: &Replica) -> Claim {
    let selected = workload.selector.matches(|key| candidate.label(key));
    match candidate.controller() {
        Some(owner) if *owner.uid != *workload.owner.uid => Claim::Foreign,
        Some(_) if selected => Claim::Owned,
        // One that goes keeps its pods for the garbage collector.
        Some(_) if workload.deleting => Claim::Owned,
        Some(_) => Claim::Release,
        None if !selected || workload.deleting || candidate.is_being_deleted() => Claim::Foreign,
        None => Claim::Adopt,
    }
}

pub(super) fn adoption(workload: &Workload, orphan: &Replica) -> Action {
    Action::StrategicPatch {
        target: target::<Pod>(orphan.namespace(), orphan.name()),
        patch: json!({"metadata": {"ownerReferences": [workload.owner], "uid": &*orphan.uid}}),
    }
}

pub(super) fn release(workload: &Workload, stray: &Replica) -> Action {
    let gone = json!({"$patch": "delete", "uid": workload.owner.uid});
    Action::StrategicPatch {
        target: target::<Pod>(stray.namespace(), stray.name()),
        patch: json!({"metadata": {"ownerReferences": [gone], "uid": &*stray.uid}}),
    }
}
