//! Persistent volumes, claims, storage classes and drivers.

use api::Object;
use serde_json::json;

use super::claim::claim;
use super::{resource_list, volume};
use crate::fill;

pub(crate) fn persistent_volume(object: &mut Object) {
    if let Some(status) = fill::object(&mut object.0, "status") {
        fill::text(status, "phase", "Pending");
    }
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    fill::text(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill::value(spec, "volumeMode", "Filesystem");
    resource_list::round(spec, "capacity");
    volume::driver(spec);
}

pub(crate) fn persistent_volume_claim(object: &mut Object) {
    claim(&mut object.0);
}

pub(crate) fn storage_class(object: &mut Object) {
    fill::value(&mut object.0, "reclaimPolicy", "Delete");
    fill::value(&mut object.0, "volumeBindingMode", "Immediate");
}

pub(crate) fn csi_driver(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    fill::value(spec, "attachRequired", true);
    for key in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill::value(spec, key, false);
    }
    fill::value(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if fill::is_empty(spec, "volumeLifecycleModes") {
        spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
}
