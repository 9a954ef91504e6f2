//! The volumes of a pod: one source each, with what the source needs.

use std::collections::{HashMap, HashSet};

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::files::{downward_file, keys_to_paths};
use super::projected;
use super::sources::{self, Owner};
use crate::validation::claim_spec::claim_spec;
use crate::validation::{amounts, check, read};

/// What volumes of pods may be of, in upstream's order.
const OF_PODS: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
/// What persistent volumes may be of, in upstream's order.
const OF_CLUSTER: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// Checks the volumes of a pod, and returns those that are sound by their names.
pub(super) fn volumes<'a>(
    errors: &mut ErrorList,
    path: &Path<'_>,
    spec: &'a Value,
    pod_name: Option<&str>,
) -> HashMap<&'a str, &'a Value> {
    let mut sound = HashMap::new();
    let pod = pod_name.filter(|name| !name.is_empty());
    let list = read::list(spec, "volumes");
    let claims: HashSet<String> = list
        .iter()
        .filter(|volume| read::get(volume, "ephemeral").is_some())
        .filter_map(|volume| Some(format!("{}-{}", pod?, read::text(volume, "name"))))
        .collect();
    for (i, volume) in list.iter().enumerate() {
        let at = path.index(i);
        let name = read::text(volume, "name");
        let before = errors.len();
        source_of(errors, &at, volume, &Owner::Pod { name: pod_name, volume: name });
        if check::required(errors, &at.child("name"), name) {
            check::faults(errors, &at.child("name"), name, names::dns1123_label(name));
        }
        if sound.contains_key(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        if errors.len() == before {
            sound.insert(name, volume);
        }
        if let Some(claim) = read::get(volume, "persistentVolumeClaim")
            && claims.contains(read::text(claim, "claimName"))
        {
            let at = at.child("persistentVolumeClaim");
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(FieldError::invalid(&at.child("claimName"), read::text(claim, "claimName"), detail));
        }
    }
    sound
}

fn source_of(errors: &mut ErrorList, path: &Path<'_>, volume: &Value, owner: &Owner<'_>) {
    let kinds: &[&str] = if owner.is_cluster() { &OF_CLUSTER } else { &OF_PODS };
    let mut given = kinds.iter().filter_map(|kind| Some((*kind, read::get(volume, kind)?)));
    let Some((kind, source)) = given.next() else {
        errors.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    // Upstream's path of these disks.
    let shown = if kind == "gcePersistentDisk" { "persistentDisk" } else { kind };
    source_of_kind(errors, path, &path.child(shown), kind, source, owner);
    for (kind, _) in given {
        // Two are misspelt upstream.
        let shown = match kind {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            other => other,
        };
        errors.push(FieldError::forbidden(&path.child(shown), "may not specify more than 1 volume type"));
    }
}

/// Checks a source, as of volumes and persistent volumes; `volume` is the path of the volume.
fn source_of_kind(
    errors: &mut ErrorList,
    volume: &Path<'_>,
    path: &Path<'_>,
    kind: &str,
    source: &Value,
    owner: &Owner<'_>,
) {
    match kind {
        "emptyDir" => {
            let limit = read::raw(source, "sizeLimit").and_then(amounts::parse);
            if limit.is_some_and(|q| q.signum() < 0) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(&path.child("sizeLimit"), detail));
            }
        }
        "hostPath" => {
            if check::required(errors, &path.child("path"), read::text(source, "path")) {
                check::no_backsteps(errors, &path.child("path"), read::text(source, "path"));
                let kind = read::text(source, "type");
                check::if_given_one_of(errors, &path.child("type"), kind, &HOST_PATH_TYPES);
            }
        }
        "secret" | "configMap" => {
            let name = if kind == "secret" { "secretName" } else { "name" };
            check::required(errors, &path.child(name), read::text(source, name));
            check::file_mode(errors, &path.child("defaultMode"), read::int(source, "defaultMode"));
            keys_to_paths(errors, &path.child("items"), source);
        }
        "downwardAPI" => {
            check::file_mode(errors, &path.child("defaultMode"), read::int(source, "defaultMode"));
            // Upstream's path leaves out that these are items.
            for file in read::list(source, "items") {
                downward_file(errors, path, file);
            }
        }
        "persistentVolumeClaim" => {
            check::required(errors, &path.child("claimName"), read::text(source, "claimName"));
        }
        "projected" => {
            check::file_mode(errors, &path.child("defaultMode"), read::int(source, "defaultMode"));
            projected::sources(errors, path, source);
        }
        "ephemeral" => ephemeral(errors, volume, path, source, owner),
        "image" => {
            // A template may leave the image of a volume open, as it may be set by who makes pods of it.
            if matches!(owner, Owner::Pod { name: Some(_), .. }) {
                check::required(errors, &path.child("reference"), read::text(source, "reference"));
            }
            let policy = read::text(source, "pullPolicy");
            check::one_of(errors, &path.child("pullPolicy"), policy, &["Always", "IfNotPresent", "Never"]);
        }
        _ => sources::source(errors, volume, path, kind, source, owner),
    }
}

/// A claim that is made for one pod: its name is the pod's and the volume's.
fn ephemeral(errors: &mut ErrorList, volume: &Path<'_>, path: &Path<'_>, source: &Value, owner: &Owner<'_>) {
    let at = path.child("volumeClaimTemplate");
    match read::get(source, "volumeClaimTemplate") {
        None => errors.push(FieldError::required(&at, "")),
        Some(template) => {
            let metadata_at = at.child("metadata");
            let metadata = read::of(template, "metadata");
            check::annotations(
                errors,
                &metadata_at.child("annotations"),
                read::pairs(metadata, "annotations"),
            );
            check::labels(errors, &metadata_at.child("labels"), read::pairs(metadata, "labels"));
            for key in metadata.as_object().into_iter().flat_map(|fields| fields.keys()) {
                if !matches!(key.as_str(), "annotations" | "labels" | "creationTimestamp") {
                    errors.push(FieldError::forbidden(&metadata_at.child(key), "cannot be set"));
                }
            }
            claim_spec(errors, &at.child("spec"), read::of(template, "spec"));
        }
    }
    if let Owner::Pod { name: Some(pod), volume: name } = owner
        && !pod.is_empty()
        && !name.is_empty()
    {
        let claim = format!("{pod}-{name}");
        for fault in names::dns1123_subdomain(&claim) {
            let detail = format!("PVC name {claim:?}: {fault}");
            errors.push(FieldError::invalid(&volume.child("name"), *name, detail));
        }
    }
}

/// The source of a persistent volume of a name; of a volume that is no object, the name is empty.
pub(in crate::validation) fn persistent(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, name: &str) {
    source_of(errors, path, spec, &Owner::Cluster { name });
}
