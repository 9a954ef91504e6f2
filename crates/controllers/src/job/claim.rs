//! Which pods are the Job's. Adopting a pod puts the finalizer on it, releasing one takes it off.

use api::selector::LabelSelector;
use informer::Action;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::pod::{JobPod, is_tracked};
use crate::claim::{Claim, Claimant};
use crate::replicas::pod::Replica;
use crate::replicas::pod::attempt::TRACKING_FINALIZER;
use crate::target::target;

/// The Job's pods, and the patches that make them so.
pub(super) fn claim<'a>(
    claimant: Claimant<'_>,
    selector: &LabelSelector,
    candidates: &'a [Replica],
) -> (Vec<JobPod<'a>>, Vec<Action>) {
    let (mut pods, mut patches) = (Vec::new(), Vec::new());
    for replica in candidates {
        let selected = selector.matches(|key| replica.label(key));
        match claimant.relation(selected, replica) {
            Claim::Foreign => {}
            Claim::Owned => pods.push(JobPod { replica, tracked: is_tracked(replica) }),
            Claim::Adopt => {
                let metadata =
                    json!({"ownerReferences": [claimant.owner], "finalizers": [TRACKING_FINALIZER]});
                patches.push(patch(replica, metadata));
                pods.push(JobPod { replica, tracked: true });
            }
            Claim::Release => {
                let owner = json!({"$patch": "delete", "uid": claimant.owner.uid});
                patches.push(patch(replica, json!({"ownerReferences": [owner], DROP: [TRACKING_FINALIZER]})));
            }
        }
    }
    (pods, patches)
}

const DROP: &str = "$deleteFromPrimitiveList/finalizers";

/// Takes the finalizer off a pod.
pub(super) fn untrack(pod: &Replica) -> Action {
    patch(pod, json!({DROP: [TRACKING_FINALIZER]}))
}

/// The same, if the pod is still as it was seen: its end must not go uncounted.
pub(super) fn untrack_unchanged(pod: &Replica) -> Action {
    patch(pod, json!({DROP: [TRACKING_FINALIZER], "resourceVersion": pod.version.to_string()}))
}

fn patch(pod: &Replica, mut metadata: Value) -> Action {
    metadata["uid"] = (*pod.uid).into();
    Action::StrategicPatch {
        target: target::<Pod>(pod.namespace(), pod.name()),
        patch: json!({"metadata": metadata}),
    }
}
