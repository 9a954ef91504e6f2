//! The names, ordinals and labels by which a set's pods and claims are known.

use std::collections::BTreeMap;

use informer::{Cached, Meta};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

/// Claims by their names.
pub(super) type Claims = BTreeMap<String, Cached<PersistentVolumeClaim>>;

pub(super) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub(super) const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// The name of the revision a pod was made from.
pub(super) const REVISION: &str = "controller-revision-hash";

pub(super) fn set_name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or("")
}

/// The name of a set's pod.
pub(super) fn pod_name(set: &str, ordinal: i32) -> String {
    format!("{set}-{ordinal}")
}

/// The ordinal of the pod of this name; `None` if the name is not one that the set gives.
pub(super) fn ordinal(set: &StatefulSet, pod: &str) -> Option<i32> {
    let number = pod.strip_prefix(set_name(set))?.strip_prefix('-')?;
    let ordinal: i32 = number.parse().ok().filter(|ordinal| *ordinal >= 0)?;
    (ordinal.to_string() == number).then_some(ordinal)
}

/// The name of the revision that a pod is of; empty if it is of none.
pub(super) fn revision(pod: &Meta) -> &str {
    pod.label(REVISION).unwrap_or("")
}

/// The first ordinal of a set.
pub(super) fn start(spec: &StatefulSetSpec) -> i32 {
    spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// The ordinals of the pods that a set wants.
pub(super) fn wanted(spec: &StatefulSetSpec) -> std::ops::Range<i32> {
    let start = start(spec);
    start..start.saturating_add(spec.replicas.unwrap_or(1).max(0))
}

/// The claim templates' names, each with the name of an ordinal's claim.
pub(super) fn claims_of<'a>(
    set: &'a str,
    spec: &'a StatefulSetSpec,
    ordinal: i32,
) -> impl Iterator<Item = (&'a str, String)> {
    spec.volume_claim_templates.iter().flatten().map(move |template| {
        let name = template.metadata.name.as_deref().unwrap_or("");
        (name, format!("{name}-{set}-{ordinal}"))
    })
}
