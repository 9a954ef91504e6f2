//! Volumes of a pod: the source that none means, modes of files, and fields of old drivers.

use serde_json::{Map, Value};

use super::claim::claim_spec;
use super::container::pull_policy;
use crate::fill::{self, Fields};

/// Files are readable by all, written by their owner.
const FILE_MODE: i64 = 0o644;
const TOKEN_LIFETIME_S: i64 = 3600;

/// A volume of a pod's spec.
pub(super) fn volume(volume: &mut Fields) {
    if !volume.keys().any(|key| key != "name") {
        volume.insert("emptyDir".into(), Value::Object(Map::new()));
        return;
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(found) = fill::within(volume, source) {
            fill::value(found, "defaultMode", FILE_MODE);
        }
    }
    if let Some(downward) = fill::within(volume, "downwardAPI") {
        downward_items(downward);
    }
    if let Some(projected) = fill::within(volume, "projected") {
        for source in fill::items(projected, "sources") {
            if let Some(token) = fill::within(source, "serviceAccountToken") {
                fill::value(token, "expirationSeconds", TOKEN_LIFETIME_S);
            }
            if let Some(downward) = fill::within(source, "downwardAPI") {
                downward_items(downward);
            }
        }
    }
    if let Some(image) = fill::within(volume, "image") {
        let policy = pull_policy(fill::str_of(image, "reference"));
        fill::text(image, "pullPolicy", policy);
    }
    let template = fill::within(volume, "ephemeral").and_then(|e| fill::within(e, "volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|t| fill::within(t, "spec")) {
        claim_spec(spec);
    }
    driver(volume);
}

/// Sources that persistent volumes have too.
pub(super) fn driver(volume: &mut Fields) {
    if let Some(path) = fill::within(volume, "hostPath") {
        fill::value(path, "type", "");
    }
    if let Some(iscsi) = fill::within(volume, "iscsi") {
        fill::text(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = fill::within(volume, "rbd") {
        fill::text(rbd, "pool", "rbd");
        fill::text(rbd, "user", "admin");
        fill::text(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = fill::within(volume, "azureDisk") {
        fill::value(disk, "cachingMode", "ReadWrite");
        fill::value(disk, "kind", "Shared");
        fill::value(disk, "fsType", "ext4");
        fill::value(disk, "readOnly", false);
    }
    if let Some(scale_io) = fill::within(volume, "scaleIO") {
        fill::text(scale_io, "storageMode", "ThinProvisioned");
        fill::text(scale_io, "fsType", "xfs");
    }
}

fn downward_items(downward: &mut Fields) {
    for item in fill::items(downward, "items") {
        if let Some(field) = fill::within(item, "fieldRef") {
            fill::text(field, "apiVersion", "v1");
        }
        if let Some(resource) = fill::within(item, "resourceFieldRef") {
            fill::value(resource, "divisor", "0");
        }
    }
}
