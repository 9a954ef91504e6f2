//! Persistent volumes, claims, storage classes and drivers.

use api::Object;
use serde_json::json;

use super::{resource_list, volume};
use crate::fill::{self, Fields};

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

/// A claim, alone or as a template.
pub(super) fn claim(claim: &mut Fields) {
    if let Some(status) = fill::object(claim, "status") {
        fill::text(status, "phase", "Pending");
        resource_list::round(status, "capacity");
        resource_list::round(status, "allocatedResources");
    }
    if let Some(spec) = fill::object(claim, "spec") {
        claim_spec(spec);
    }
}

/// The spec of a claim.
pub(super) fn claim_spec(spec: &mut Fields) {
    fill::value(spec, "volumeMode", "Filesystem");
    fill::value(spec, "resources", json!({}));
    if let Some(resources) = fill::within(spec, "resources") {
        resource_list::round_requirements(resources);
    }
    // A data source of either form says the same in the other.
    if let Some(source) = spec.get("dataSource").filter(|s| s.is_object()).cloned() {
        fill::value(spec, "dataSourceRef", source);
    }
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
