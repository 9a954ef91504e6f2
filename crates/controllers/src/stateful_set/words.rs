//! Upstream's events about a set's pods and claims (`stateful_pod_control.go`).

use informer::Words;
use k8s_openapi::api::apps::v1::StatefulSet;

use super::names::set_name;

/// What is done to a pod.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Create,
    Delete,
    Update,
}

pub(super) fn pod(set: &StatefulSet, deed: Deed, pod: &str) -> Words {
    let (verb, done, failed) = match deed {
        Deed::Create => ("create", "SuccessfulCreate", "FailedCreate"),
        Deed::Delete => ("delete", "SuccessfulDelete", "FailedDelete"),
        Deed::Update => ("update", "SuccessfulUpdate", "FailedUpdate"),
    };
    let what = format!("{verb} Pod {pod} in StatefulSet {}", set_name(set));
    Words {
        about: client::reference(set),
        done: (done, format!("{what} successful")),
        failed: vec![(failed, format!("{what} failed error: "))],
    }
}

/// A claim that cannot be made is reported as its pod's failure, too.
pub(super) fn claim_created(set: &StatefulSet, pod: &str, claim: &str) -> Words {
    let name = set_name(set);
    let of_pod =
        format!("create Pod {pod} in StatefulSet {name} failed error: failed to create PVC {claim}: ");
    Words {
        about: client::reference(set),
        done: ("SuccessfulCreate", format!("create Claim {claim} Pod {pod} in StatefulSet {name} success")),
        failed: vec![
            (
                "FailedCreate",
                format!("create Claim {claim} for Pod {pod} in StatefulSet {name} failed error: "),
            ),
            ("FailedCreate", of_pod),
        ],
    }
}
