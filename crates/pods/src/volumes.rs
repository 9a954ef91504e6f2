//! Persistent volumes and claims: which volume satisfies which claim, and the annotations by which the parts of a cluster
//! work on them together. Upstream: `k8s.io/component-helpers/storage/volume`.
//!
//! Start with [`best_match`]; [`directory`] is about volumes that a node makes itself. The binder and the scheduler decide by these functions, so that what one of them takes for
//! a claim, the other takes too.

pub mod attachment;
pub mod directory;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use api::selector::LabelSelector;
use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, Pod,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;

/// On a claim: both sides of its binding are written.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or a volume: the controller chose the other side, not the user.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: the provisioner that made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: the provisioner that is to make its volume.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The same, as earlier versions call it.
pub const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a claim: the node that the scheduler chose for its first consumer.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The finalizer of claims that are in use.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// The finalizer of volumes that are bound.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// The finalizer of classes of attributes that claims or volumes name.
pub const ATTRIBUTES_CLASS_PROTECTION: &str = "kubernetes.io/vac-protection";
/// The name of a class of volumes that nobody makes.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

type Annotations = Option<BTreeMap<String, String>>;

/// An annotation's value.
pub fn annotation<'a>(annotations: &'a Annotations, key: &str) -> Option<&'a str> {
    annotations.as_ref()?.get(key).map(String::as_str)
}

fn claim_spec(claim: &PersistentVolumeClaim) -> Option<&PersistentVolumeClaimSpec> {
    claim.spec.as_ref()
}

fn volume_spec(volume: &PersistentVolume) -> Option<&PersistentVolumeSpec> {
    volume.spec.as_ref()
}

/// Whether the claim names a class, be it the empty one.
pub fn has_class(claim: &PersistentVolumeClaim) -> bool {
    annotation(&claim.metadata.annotations, CLASS).is_some()
        || claim_spec(claim).is_some_and(|spec| spec.storage_class_name.is_some())
}

/// The class that the claim wants a volume of; empty for volumes without one.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    annotation(&claim.metadata.annotations, CLASS)
        .or_else(|| claim_spec(claim)?.storage_class_name.as_deref())
        .unwrap_or_default()
}

/// The class of the volume; empty without one.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    annotation(&volume.metadata.annotations, CLASS)
        .or_else(|| volume_spec(volume)?.storage_class_name.as_deref())
        .unwrap_or_default()
}

/// The name of the volume that the claim names or is bound to; empty without one.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim_spec(claim).and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

/// The claim that the volume is bound to or kept for.
pub fn claim_of(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume_spec(volume)?.claim_ref.as_ref()
}

/// Whether both sides of the claim's binding have been written.
pub fn is_bind_completed(claim: &PersistentVolumeClaim) -> bool {
    annotation(&claim.metadata.annotations, BIND_COMPLETED).is_some()
}

/// Whether the claim has a volume that its pods can use.
pub fn is_fully_bound(claim: &PersistentVolumeClaim) -> bool {
    !volume_name(claim).is_empty() && is_bind_completed(claim)
}

/// Whether claims of the class wait for their first consumer.
pub fn is_delayed(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// Whether claims without a class are of this one.
pub fn is_default(class: &StorageClass) -> bool {
    DEFAULT_MARKS.iter().any(|mark| annotation(&class.metadata.annotations, mark) == Some("true"))
}

/// The default of these classes: the newest, of equally old ones the first.
pub fn default_class<'a>(classes: impl Iterator<Item = &'a StorageClass>) -> Option<&'a str> {
    let marked = classes.filter(|class| is_default(class)).map(|class| {
        let name = class.metadata.name.as_deref().unwrap_or_default();
        (std::cmp::Reverse(class.metadata.creation_timestamp.as_ref().map(|at| at.0)), name)
    });
    marked.min().map(|(_, name)| name)
}

/// Whether the volume is kept for the claim, be it by name alone.
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_of(volume).is_some_and(|of| {
        of.name == claim.metadata.name
            && of.namespace == claim.metadata.namespace
            && (uid(of).is_empty() || of.uid == claim.metadata.uid)
    })
}

/// The uid of the object that is referred to; empty without one.
pub fn uid(reference: &ObjectReference) -> &str {
    reference.uid.as_deref().unwrap_or_default()
}

fn amount(amounts: Option<&BTreeMap<String, Amount>>) -> Quantity {
    amounts.and_then(|all| all.get("storage")?.0.parse().ok()).unwrap_or(Quantity::ZERO)
}

/// What the volume holds.
pub fn capacity(volume: &PersistentVolume) -> Quantity {
    amount(volume_spec(volume).and_then(|spec| spec.capacity.as_ref()))
}

/// What the claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    amount(claim_spec(claim).and_then(|spec| spec.resources.as_ref()?.requests.as_ref()))
}

fn mode(mode: Option<&str>) -> &str {
    mode.filter(|mode| !mode.is_empty()).unwrap_or("Filesystem")
}

/// Whether one is a device and the other a file system.
pub fn differ_in_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of_volume = volume_spec(volume).and_then(|spec| spec.volume_mode.as_deref());
    let of_claim = claim_spec(claim).and_then(|spec| spec.volume_mode.as_deref());
    mode(of_volume) != mode(of_claim)
}

fn attributes_class(name: Option<&String>) -> &str {
    name.map(String::as_str).unwrap_or_default()
}

fn differ_in_attributes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of_volume = volume_spec(volume).and_then(|spec| spec.volume_attributes_class_name.as_ref());
    let of_claim = claim_spec(claim).and_then(|spec| spec.volume_attributes_class_name.as_ref());
    attributes_class(of_volume) != attributes_class(of_claim)
}

/// The access modes of a volume.
pub fn access_modes(volume: &PersistentVolume) -> &[String] {
    volume_spec(volume).and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default()
}

fn lacks_a_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let wanted = claim_spec(claim).and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    wanted.iter().any(|mode| !access_modes(volume).contains(mode))
}

/// Why the claim cannot have the volume that the claim names, in upstream's words.
pub fn misfit(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    if capacity(volume) < requested(claim) {
        return Some("requested PV is too small");
    }
    if class_of_volume(volume) != class_of_claim(claim) {
        return Some("storageClassName does not match");
    }
    if differ_in_attributes(volume, claim) {
        return Some("volumeAttributesClassName does not match");
    }
    if differ_in_mode(volume, claim) {
        return Some("incompatible volumeMode");
    }
    lacks_a_mode(volume, claim).then_some("incompatible accessMode")
}

/// Which volumes [`best_match`] considers besides what the claim says.
#[derive(Clone, Copy)]
pub enum Search<'a> {
    /// The binder's: any node will do.
    Immediate,
    /// The binder's, for a claim whose volume the scheduler chooses: only one that is kept for the claim.
    Delayed,
    /// The scheduler's: on a node, of what the function does not refuse.
    On(&'a dyn Fn(&PersistentVolume) -> bool),
}

fn is_candidate(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume.metadata.deletion_timestamp.is_none()
        && (claim_of(volume).is_none() || is_bound_to(volume, claim))
        && capacity(volume) >= requested(claim)
        && !differ_in_mode(volume, claim)
        && !lacks_a_mode(volume, claim)
}

fn selector(claim: &PersistentVolumeClaim) -> Option<LabelSelector> {
    let selector = claim_spec(claim)?.selector.as_ref()?;
    let value = serde_json::to_value(selector).expect("typed API objects serialize to JSON");
    // What cannot be read selects nothing: validation has let nothing of the sort pass.
    Some(LabelSelector::from_object(&value).unwrap_or_else(|_| LabelSelector::nothing()))
}

/// The volume that the claim is to have: one that is kept for the claim, otherwise the smallest that is available and
/// fits, of those with the fewest access modes.
pub fn best_match<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl Iterator<Item = &'a Arc<PersistentVolume>>,
    search: Search<'_>,
) -> Option<&'a Arc<PersistentVolume>> {
    let candidates: Vec<&Arc<PersistentVolume>> =
        volumes.filter(|volume| is_candidate(volume, claim)).collect();
    let reaches = |volume: &PersistentVolume| match search {
        Search::On(fits) => fits(volume),
        Search::Immediate | Search::Delayed => true,
    };
    if let Some(kept) = candidates.iter().find(|volume| is_bound_to(volume, claim)) {
        return reaches(kept).then_some(*kept);
    }
    if matches!(search, Search::Delayed) {
        return None;
    }
    let selector = selector(claim);
    let suits = |volume: &&Arc<PersistentVolume>| {
        let labels = volume.metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|all| all.get(key)).map(String::as_str);
        phase(volume) == "Available"
            && class_of_volume(volume) == class_of_claim(claim)
            && !differ_in_attributes(volume, claim)
            && selector.as_ref().is_none_or(|selector| selector.matches(label))
            && reaches(volume)
    };
    let size = |volume: &&Arc<PersistentVolume>| {
        (access_modes(volume).len(), capacity(volume), volume.metadata.name.clone())
    };
    candidates.into_iter().filter(suits).min_by_key(size)
}

/// The phase of a volume.
pub fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// A claim that a pod's volume uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UsedClaim {
    pub name: Box<str>,
    /// The claim is made for the pod and belongs to it.
    pub is_ephemeral: bool,
}

/// The name of the claim that a generic ephemeral volume of a pod has.
pub fn ephemeral_claim(pod: &str, volume: &str) -> String {
    format!("{pod}-{volume}")
}

/// The claims that the pod's volumes use, in the volumes' order.
pub fn claims_of(pod: &Pod) -> Vec<UsedClaim> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let used = volumes.filter_map(|volume| {
        if let Some(source) = &volume.persistent_volume_claim {
            return Some(UsedClaim { name: source.claim_name.as_str().into(), is_ephemeral: false });
        }
        volume.ephemeral.as_ref()?;
        let name = ephemeral_claim(pod.metadata.name.as_deref().unwrap_or_default(), &volume.name);
        Some(UsedClaim { name: name.into(), is_ephemeral: true })
    });
    used.collect()
}

/// Whether the claim was made for the pod.
pub fn is_of_pod(claim: &PersistentVolumeClaim, pod_uid: &str) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == pod_uid)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(name: &str, size: &str, modes: &[&str], more: Value) -> Arc<PersistentVolume> {
        let mut whole = json!({"metadata": {"name": name}, "status": {"phase": "Available"},
            "spec": {"capacity": {"storage": size}, "accessModes": modes}});
        for (key, value) in more.as_object().expect("an object") {
            whole["spec"][key] = value.clone();
        }
        if let Some(labels) = more.get("labels") {
            whole["metadata"]["labels"] = labels.clone();
        }
        Arc::new(serde_json::from_value(whole).expect("a volume"))
    }

    fn claim(size: &str, mode: &str, more: Value) -> PersistentVolumeClaim {
        let mut whole = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "u"},
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": size}}}});
        for (key, value) in more.as_object().expect("an object") {
            whole["spec"][key] = value.clone();
        }
        serde_json::from_value(whole).expect("a claim")
    }

    fn matched(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>]) -> Option<String> {
        best_match(claim, volumes.iter(), Search::Immediate).and_then(|volume| volume.metadata.name.clone())
    }

    #[test]
    fn the_smallest_that_fits_is_taken_of_those_with_the_fewest_modes() {
        let all = [
            volume("big", "10Gi", &["ReadWriteOnce"], json!({})),
            volume("small", "1Gi", &["ReadWriteOnce"], json!({})),
            volume("right", "5Gi", &["ReadWriteOnce"], json!({})),
            volume("shared", "3Gi", &["ReadWriteOnce", "ReadWriteMany"], json!({})),
            volume("fast", "2Gi", &["ReadWriteOnce"], json!({"storageClassName": "fast"})),
            volume("raw", "2Gi", &["ReadWriteOnce"], json!({"volumeMode": "Block"})),
            volume("red", "20Gi", &["ReadWriteOnce"], json!({"labels": {"c": "red"}})),
        ];
        assert_eq!(matched(&claim("2Gi", "ReadWriteOnce", json!({})), &all).as_deref(), Some("right"));
        assert_eq!(matched(&claim("2Gi", "ReadWriteMany", json!({})), &all).as_deref(), Some("shared"));
        assert_eq!(matched(&claim("2Gi", "ReadOnlyMany", json!({})), &all), None);
        let fast = claim("1Gi", "ReadWriteOnce", json!({"storageClassName": "fast"}));
        assert_eq!(matched(&fast, &all).as_deref(), Some("fast"));
        let raw = claim("1Gi", "ReadWriteOnce", json!({"volumeMode": "Block"}));
        assert_eq!(matched(&raw, &all).as_deref(), Some("raw"));
        let red = claim("1Gi", "ReadWriteOnce", json!({"selector": {"matchLabels": {"c": "red"}}}));
        assert_eq!(matched(&red, &all).as_deref(), Some("red"));
        assert_eq!(matched(&claim("30Gi", "ReadWriteOnce", json!({})), &all), None);
    }

    #[test]
    fn a_volume_that_is_kept_for_the_claim_comes_first_and_another_claims_never() {
        let kept = |uid: &str| json!({"claimRef": {"name": "c", "namespace": "ns", "uid": uid}});
        let one = |more| volume("kept", "9Gi", &["ReadWriteOnce"], more);
        let free = volume("free", "1Gi", &["ReadWriteOnce"], json!({}));
        let wanted = claim("1Gi", "ReadWriteOnce", json!({}));
        assert_eq!(matched(&wanted, &[free.clone(), one(kept(""))]).as_deref(), Some("kept"));
        assert_eq!(matched(&wanted, &[free.clone(), one(kept("u"))]).as_deref(), Some("kept"));
        assert_eq!(matched(&wanted, &[free.clone(), one(kept("other"))]).as_deref(), Some("free"));
        let all = [free, one(kept(""))];
        let delayed = |all: &[Arc<PersistentVolume>]| {
            best_match(&wanted, all.iter(), Search::Delayed).and_then(|volume| volume.metadata.name.clone())
        };
        assert_eq!(delayed(&all).as_deref(), Some("kept"));
        assert_eq!(delayed(&all[..1]), None, "the scheduler chooses");
        let nowhere: &dyn Fn(&PersistentVolume) -> bool = &|_| false;
        assert!(best_match(&wanted, all.iter(), Search::On(nowhere)).is_none());
    }

    #[test]
    fn why_a_named_volume_does_not_fit() {
        let wanted = claim("2Gi", "ReadWriteOnce", json!({"storageClassName": "s"}));
        let why = |size: &str, modes: &[&str], more: Value| misfit(&volume("v", size, modes, more), &wanted);
        let of_class = json!({"storageClassName": "s"});
        assert_eq!(why("2Gi", &["ReadWriteOnce"], of_class.clone()), None);
        assert_eq!(why("1Gi", &["ReadWriteOnce"], of_class.clone()), Some("requested PV is too small"));
        assert_eq!(why("2Gi", &["ReadWriteOnce"], json!({})), Some("storageClassName does not match"));
        assert_eq!(why("2Gi", &["ReadOnlyMany"], of_class), Some("incompatible accessMode"));
        let raw = json!({"storageClassName": "s", "volumeMode": "Block"});
        assert_eq!(why("2Gi", &["ReadWriteOnce"], raw), Some("incompatible volumeMode"));
    }

    #[test]
    fn a_pods_claims_are_those_it_names_and_those_made_for_it() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [],
            "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "x"}}, {"name": "b", "emptyDir": {}},
                {"name": "c", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]}}))
        .expect("a pod");
        let used = |name: &str, is_ephemeral| UsedClaim { name: name.into(), is_ephemeral };
        assert_eq!(claims_of(&pod), [used("x", false), used("p-c", true)]);
    }
}
