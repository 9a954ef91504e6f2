//! Volumes, claims and storage classes.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, items, text, text_or};
use super::{AGE, Column, NAME, column, wide};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub(crate) const VOLUME: &[Column] = &[
    NAME,
    column("Capacity", "string", "The volume's resources and capacity."),
    column("Access Modes", "string", "All ways the volume can be mounted."),
    column("Reclaim Policy", "string", "What happens to the volume when released from its claim."),
    column("Status", "string", "If a volume is available, bound to a claim, or released by a claim."),
    column("Claim", "string", "The claim the volume is bound to."),
    column("StorageClass", "string", "StorageClass of the pv"),
    column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv"),
    column("Reason", "string", "Why the volume is in this state."),
    AGE,
    wide("VolumeMode", "string", "Whether the volume is formatted or raw."),
];

pub(crate) fn volume(o: &Object, now: Timestamp) -> Vec<Value> {
    let claim = match o.at(&["spec", "claimRef"]) {
        Some(_) => format!(
            "{}/{}",
            text(o, &["spec", "claimRef", "namespace"]),
            text(o, &["spec", "claimRef", "name"])
        ),
        None => String::new(),
    };
    vec![
        o.name().into(),
        text_or(o, &["spec", "capacity", "storage"], "0"),
        modes(items(o, &["spec", "accessModes"])).into(),
        text(o, &["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(o).into(),
        claim.into(),
        class(o).into(),
        text_or(o, &["spec", "volumeAttributesClassName"], "<unset>"),
        text(o, &["status", "reason"]).into(),
        age(o, now),
        text_or(o, &["spec", "volumeMode"], "<unset>"),
    ]
}

pub(crate) const CLAIM: &[Column] = &[
    NAME,
    column("Status", "string", "The current phase of the claim."),
    column("Volume", "string", "The volume backing this claim."),
    column("Capacity", "string", "The actual resources of the underlying volume."),
    column("Access Modes", "string", "The actual access modes the volume backing the claim has."),
    column("StorageClass", "string", "StorageClass of the pvc"),
    column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc"),
    AGE,
    wide("VolumeMode", "string", "What type of volume is required by the claim."),
];

pub(crate) fn claim(o: &Object, now: Timestamp) -> Vec<Value> {
    let volume = text(o, &["spec", "volumeName"]);
    let (capacity, modes) = if volume.is_empty() {
        ("".into(), String::new())
    } else {
        (text_or(o, &["status", "capacity", "storage"], "0"), modes(items(o, &["status", "accessModes"])))
    };
    vec![
        o.name().into(),
        phase(o).into(),
        volume.into(),
        capacity,
        modes.into(),
        class(o).into(),
        text_or(o, &["spec", "volumeAttributesClassName"], "<unset>"),
        age(o, now),
        text_or(o, &["spec", "volumeMode"], "<unset>"),
    ]
}

fn phase(o: &Object) -> &str {
    if o.deletion_timestamp().is_some() { "Terminating" } else { text(o, &["status", "phase"]) }
}

fn class(o: &Object) -> &str {
    o.annotation(CLASS_ANNOTATION).unwrap_or_else(|| text(o, &["spec", "storageClassName"]))
}

/// Short names of access modes, in upstream's order.
fn modes(modes: &[Value]) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let present = SHORT.iter().filter(|(mode, _)| modes.iter().any(|m| m == mode));
    super::read::join(present.map(|(_, short)| *short), "")
}

pub(crate) const STORAGE_CLASS: &[Column] = &[
    NAME,
    column("Provisioner", "string", "The type of the provisioner."),
    column("ReclaimPolicy", "string", "The reclaimPolicy of volumes this class makes."),
    column("VolumeBindingMode", "string", "When volumes are provisioned and bound."),
    column("AllowVolumeExpansion", "string", "Whether volumes can be expanded."),
    AGE,
];

pub(crate) fn storage_class(o: &Object, now: Timestamp) -> Vec<Value> {
    let is_default =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
            .iter()
            .any(|key| o.annotation(key) == Some("true"));
    let name = if is_default { format!("{} (default)", o.name()) } else { o.name().to_owned() };
    vec![
        name.into(),
        text(o, &["provisioner"]).into(),
        text_or(o, &["reclaimPolicy"], "Delete"),
        text_or(o, &["volumeBindingMode"], "Immediate"),
        o.at(&["allowVolumeExpansion"]).and_then(Value::as_bool).unwrap_or(false).into(),
        age(o, now),
    ]
}
