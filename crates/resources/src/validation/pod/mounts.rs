//! Validation of a container's mounts of the pod's volumes.

use std::collections::{HashMap, HashSet};

use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use crate::validation::{check, read};

const PROPAGATIONS: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
const RECURSIVE: [&str; 3] = ["Disabled", "Enabled", "IfPossible"];

/// The pod's volumes by name.
type Volumes<'a> = HashMap<&'a str, &'a Value>;

/// The texts of a field in all of the list.
fn texts<'a>(list: &'a [Value], field: &str) -> HashSet<&'a str> {
    list.iter().map(|item| read::text(item, field)).collect()
}

pub(super) fn mounts(errors: &mut ErrorList, path: &Path<'_>, container: &Value, volumes: &Volumes<'_>) {
    let devices = read::list(container, "volumeDevices");
    let (device_names, device_paths) = (texts(devices, "name"), texts(devices, "devicePath"));
    let mut seen = HashSet::new();
    for (i, mount) in read::list(container, "volumeMounts").iter().enumerate() {
        let at = path.index(i);
        let [name, mount_path] = ["name", "mountPath"].map(|k| read::text(mount, k));
        check::required(errors, &at.child("name"), name);
        if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(&at.child("name"), name));
        }
        check::required(errors, &at.child("mountPath"), mount_path);
        if seen.contains(&mount_path) {
            errors.push(FieldError::invalid(&at.child("mountPath"), mount_path, "must be unique"));
        }
        seen.insert(mount_path);
        if device_names.contains(name) {
            let detail = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(&at.child("name"), name, detail));
        }
        if device_paths.contains(mount_path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(&at.child("mountPath"), mount_path, detail));
        }
        sub_path(errors, path, &at, mount);
        propagation(errors, path, container, mount);
    }
}

/// Upstream's paths of these leave out which mount it is.
fn sub_path(errors: &mut ErrorList, path: &Path<'_>, at: &Path<'_>, mount: &Value) {
    let [plain, expanded] = ["subPath", "subPathExpr"].map(|k| read::text(mount, k));
    if !plain.is_empty() {
        check::descending_path(errors, &path.child("subPath"), plain);
    }
    if !expanded.is_empty() {
        if !plain.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(&at.child("subPathExpr"), expanded, detail));
        }
        check::descending_path(errors, &path.child("subPathExpr"), expanded);
    }
}

fn propagation(errors: &mut ErrorList, path: &Path<'_>, container: &Value, mount: &Value) {
    let mode = read::text(mount, "mountPropagation");
    check::if_given_one_of(errors, &path.child("mountPropagation"), mode, &PROPAGATIONS);
    let privileged = read::get(container, "securityContext").is_some_and(|s| read::flag(s, "privileged"));
    if mode == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(&path.child("mountPropagation"), detail));
    }
    let at = path.child("recursiveReadOnly");
    match read::text(mount, "recursiveReadOnly") {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !read::flag(mount, "readOnly") {
                errors.push(FieldError::forbidden(&at, "may only be specified when readOnly is true"));
            }
            if !matches!(mode, "" | "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(&at, detail));
            }
        }
        other => errors.push(FieldError::not_supported(&at, other, &RECURSIVE)),
    }
}

pub(super) fn devices(errors: &mut ErrorList, path: &Path<'_>, container: &Value, volumes: &Volumes<'_>) {
    let mounts = read::list(container, "volumeMounts");
    let (mount_names, mount_paths) = (texts(mounts, "name"), texts(mounts, "mountPath"));
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for (i, device) in read::list(container, "volumeDevices").iter().enumerate() {
        let at = path.index(i);
        let [name, device_path] = ["name", "devicePath"].map(|k| read::text(device, k));
        let (name_at, path_at) = (at.child("name"), at.child("devicePath"));
        check::required(errors, &name_at, name);
        if names.contains(&name) {
            errors.push(FieldError::invalid(&name_at, name, "must be unique"));
        }
        match volumes.get(name) {
            Some(v) if read::get(v, "persistentVolumeClaim").or(read::get(v, "ephemeral")).is_none() => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(FieldError::invalid(&name_at, name, detail));
            }
            Some(_) => {}
            None => errors.push(FieldError::not_found(&name_at, name)),
        }
        check::required(errors, &path_at, device_path);
        if paths.contains(&device_path) {
            errors.push(FieldError::invalid(&path_at, device_path, "must be unique"));
        }
        if device_path.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(&path_at, device_path, "can not contain backsteps ('..')"));
        } else {
            paths.insert(device_path);
        }
        if mount_names.contains(name) {
            errors.push(FieldError::invalid(&name_at, name, "must not already exist in volumeMounts"));
        }
        if mount_paths.contains(device_path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.push(FieldError::invalid(&path_at, device_path, detail));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}
