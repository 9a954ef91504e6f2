//! The volumes of a pod: one source each, with what the source needs.

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::env;
use crate::validation::{amounts, check, read};

/// Sources in upstream's order, with the fields each must have.
const SOURCES: [(&str, &[&str]); 31] = [
    ("emptyDir", &[]),
    ("hostPath", &["path"]),
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("secret", &["secretName"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("flocker", &[]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("quobyte", &["registry", "volume"]),
    ("downwardAPI", &[]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("configMap", &["name"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("storageos", &[]),
    ("projected", &[]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("csi", &["driver"]),
    ("ephemeral", &["volumeClaimTemplate"]),
    ("image", &[]),
    ("local", &["path"]),
];
/// Those that only volumes of the cluster have.
const OF_CLUSTER: [&str; 1] = ["local"];
/// Those that only volumes of pods have.
const OF_PODS: [&str; 9] = [
    "emptyDir",
    "gitRepo",
    "secret",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
    "ephemeral",
    "image",
];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// Fields of the pod a file may show.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const MIN_TOKEN_S: i64 = 600;
const MAX_TOKEN_S: i64 = 1 << 32;

pub(super) fn volumes(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, pod_name: Option<&str>) {
    let mut seen = HashSet::new();
    for (i, volume) in read::list(spec, "volumes").iter().enumerate() {
        let at = path.index(i);
        let name = read::text(volume, "name");
        sources(errors, &at, volume, &OF_CLUSTER);
        // A template may leave the image of a volume open, as it may be set by who makes pods of it.
        if let (Some(image), Some(_)) = (read::get(volume, "image"), pod_name) {
            let at = at.child("image");
            check::required(errors, &at.child("reference"), read::text(image, "reference"));
        }
        if let Some(pod) = pod_name.filter(|p| !p.is_empty() && !name.is_empty())
            && read::get(volume, "ephemeral").is_some()
        {
            let claim = format!("{pod}-{name}");
            for fault in names::dns1123_subdomain(&claim) {
                let detail = format!("PVC name {claim:?}: {fault}");
                errors.push(FieldError::invalid(&at.child("name"), name, detail));
            }
        }
        if !check::required(errors, &at.child("name"), name) {
            continue;
        }
        check::faults(errors, &at.child("name"), name, names::dns1123_label(name));
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        seen.insert(name);
    }
}

fn sources(errors: &mut ErrorList, path: &Path<'_>, volume: &Value, of_others: &[&str]) {
    let kinds = SOURCES.iter().filter(|(kind, _)| !of_others.contains(kind));
    let mut given = kinds.filter_map(|(kind, needs)| Some((*kind, *needs, read::get(volume, kind)?)));
    let Some((kind, needs, source)) = given.next() else {
        errors.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    source_of_kind(errors, &path.child(kind), kind, needs, source);
    for (kind, _, _) in given {
        errors.push(FieldError::forbidden(&path.child(kind), "may not specify more than 1 volume type"));
    }
}

/// Checks a source, as of volumes and persistent volumes.
fn source_of_kind(errors: &mut ErrorList, path: &Path<'_>, kind: &str, needs: &[&str], source: &Value) {
    for field in needs {
        let absent = read::get(source, field)
            .is_none_or(|v| v.as_str().is_some_and(str::is_empty) || v.as_array().is_some_and(Vec::is_empty));
        if absent {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    }
    match kind {
        "emptyDir" => {
            let limit = read::raw(source, "sizeLimit").and_then(amounts::parse);
            if limit.is_some_and(|q| q.signum() < 0) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(&path.child("sizeLimit"), detail));
            }
        }
        "hostPath" => {
            check::no_backsteps(errors, &path.child("path"), read::text(source, "path"));
            let kind = read::text(source, "type");
            check::if_given_one_of(errors, &path.child("type"), kind, &HOST_PATH_TYPES);
        }
        "nfs" => {
            let directory = read::text(source, "path");
            if !directory.is_empty() && !directory.starts_with('/') {
                let detail = "must be an absolute path";
                errors.push(FieldError::invalid(&path.child("path"), directory, detail));
            }
        }
        "secret" | "configMap" => {
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
        "projected" => {
            check::file_mode(errors, &path.child("defaultMode"), read::int(source, "defaultMode"));
            projected(errors, path, source);
        }
        "image" => {
            let policy = read::text(source, "pullPolicy");
            check::one_of(errors, &path.child("pullPolicy"), policy, &["Always", "IfNotPresent", "Never"]);
        }
        _ => {}
    }
}

fn keys_to_paths(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    for (i, item) in read::list(source, "items").iter().enumerate() {
        let at = path.index(i);
        check::required(errors, &at.child("key"), read::text(item, "key"));
        let file = read::text(item, "path");
        check::required(errors, &at.child("path"), file);
        check::non_reserved_path(errors, &at.child("path"), file);
        check::file_mode(errors, &at.child("mode"), read::int(item, "mode"));
    }
}

fn downward_file(errors: &mut ErrorList, path: &Path<'_>, file: &Value) {
    let name = read::text(file, "path");
    check::required(errors, &path.child("path"), name);
    check::non_reserved_path(errors, &path.child("path"), name);
    let resource = read::get(file, "resourceFieldRef");
    match (read::get(file, "fieldRef"), resource) {
        (Some(field), other) => {
            env::field_ref(errors, &path.child("fieldRef"), field, &FIELDS);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", detail));
            }
        }
        (None, Some(resource)) => {
            env::resource_ref(errors, &path.child("resourceFieldRef"), resource, true);
        }
        (None, None) => {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    check::file_mode(errors, &path.child("mode"), read::int(file, "mode"));
}

const PROJECTED: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

fn projected(errors: &mut ErrorList, path: &Path<'_>, volume: &Value) {
    let sources = path.child("sources");
    let mut taken = HashSet::new();
    for (i, source) in read::list(volume, "sources").iter().enumerate() {
        let at = sources.index(i);
        let given = PROJECTED.iter().filter_map(|kind| Some((*kind, read::get(source, kind)?)));
        let mut count = 0;
        for (kind, source) in given {
            count += 1;
            let at = at.child(kind);
            let files: Vec<&str> = match kind {
                "secret" | "configMap" => {
                    check::required(errors, &at.child("name"), read::text(source, "name"));
                    keys_to_paths(errors, &at.child("items"), source);
                    read::list(source, "items").iter().map(|f| read::text(f, "path")).collect()
                }
                "downwardAPI" => {
                    for file in read::list(source, "items") {
                        downward_file(errors, &at, file);
                    }
                    read::list(source, "items").iter().map(|f| read::text(f, "path")).collect()
                }
                "serviceAccountToken" => {
                    token(errors, &at, source);
                    vec![read::text(source, "path")]
                }
                "clusterTrustBundle" => {
                    let file = read::text(source, "path");
                    check::required(errors, &at.child("path"), file);
                    check::non_reserved_path(errors, &at.child("path"), file);
                    vec![file]
                }
                _ => Vec::new(),
            };
            for file in files.into_iter().filter(|f| !f.is_empty()) {
                if !taken.insert(file) {
                    errors.push(FieldError::invalid(path, file, "conflicting duplicate paths"));
                }
            }
        }
        if count > 1 {
            let detail = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(&at, detail));
        }
    }
}

fn token(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let seconds = read::int(source, "expirationSeconds").unwrap_or(0);
    let detail = if seconds < MIN_TOKEN_S {
        Some("may not specify a duration less than 10 minutes")
    } else if seconds > MAX_TOKEN_S {
        Some("may not specify a duration larger than 2^32 seconds")
    } else {
        None
    };
    if let Some(detail) = detail {
        errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    let file = read::text(source, "path");
    check::required(errors, &path.child("path"), file);
    check::non_reserved_path(errors, &path.child("path"), file);
}

/// The source of a persistent volume.
pub(in crate::validation) fn persistent(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    sources(errors, path, spec, &OF_PODS);
}
