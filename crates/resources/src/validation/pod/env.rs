//! Environment variables and where their values come from.

use std::collections::HashMap;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::each::each;
use crate::validation::{amounts, check, read};

/// Fields of the pod a variable may take its value from.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub(super) fn env(errors: &mut ErrorList, path: &Path<'_>, container: &Value) {
    for (i, variable) in read::list(container, "env").iter().enumerate() {
        let at = path.index(i);
        let name = read::text(variable, "name");
        if check::required(errors, &at.child("name"), name) {
            check::faults(errors, &at.child("name"), name, names::relaxed_env_var_name(name));
        }
        if let Some(source) = read::get(variable, "valueFrom") {
            value_from(errors, &at.child("valueFrom"), source, read::text(variable, "value"));
        }
    }
}

fn value_from(errors: &mut ErrorList, path: &Path<'_>, source: &Value, value: &str) {
    let mut sources = 0;
    if let Some(field) = read::get(source, "fieldRef") {
        sources += 1;
        field_ref(errors, &path.child("fieldRef"), field, &FIELDS);
    }
    if let Some(resource) = read::get(source, "resourceFieldRef") {
        sources += 1;
        resource_ref(errors, &path.child("resourceFieldRef"), resource, false);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = read::get(source, key) {
            sources += 1;
            key_ref(errors, &path.child(key), reference);
        }
    }
    if let Some(file) = read::get(source, "fileKeyRef") {
        sources += 1;
        file_ref(errors, &path.child("fileKeyRef"), file);
    }
    let detail = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", detail));
}

fn key_ref(errors: &mut ErrorList, path: &Path<'_>, reference: &Value) {
    let [name, key] = ["name", "key"].map(|k| read::text(reference, k));
    check::faults(errors, &path.child("name"), name, names::dns1123_subdomain(name));
    if check::required(errors, &path.child("key"), key) {
        check::faults(errors, &path.child("key"), key, names::config_key(key));
    }
}

fn file_ref(errors: &mut ErrorList, path: &Path<'_>, reference: &Value) {
    let [volume, file, key] = ["volumeName", "path", "key"].map(|k| read::text(reference, k));
    if check::required(errors, &path.child("key"), key) {
        check::faults(errors, &path.child("key"), key, names::relaxed_env_var_name(key));
    }
    if check::required(errors, &path.child("volumeName"), volume) {
        check::faults(errors, &path.child("volumeName"), volume, names::dns1123_label(volume));
    }
    if check::required(errors, &path.child("path"), file) {
        check::no_backsteps(errors, &path.child("path"), file);
    }
}

/// Files that variables come from are in volumes that the pod's containers write themselves.
pub(super) fn files_of_volumes(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let volumes: HashMap<&str, &Value> =
        read::list(spec, "volumes").iter().map(|volume| (read::text(volume, "name"), volume)).collect();
    each(path, spec, &mut |at, container| {
        let list = at.child("env");
        for (i, variable) in read::list(container, "env").iter().enumerate() {
            let source = read::get(variable, "valueFrom").and_then(|from| read::get(from, "fileKeyRef"));
            let Some(source) = source else { continue };
            let at = list.index(i);
            let at = at.child("valueFrom");
            let at = at.child("fileKeyRef");
            let at = at.child("volumeName");
            let name = read::text(source, "volumeName");
            match volumes.get(name) {
                None => errors.push(FieldError::not_found(&at, name)),
                Some(volume) if read::get(volume, "emptyDir").is_none() => {
                    let detail = "referenced volume must be of type emptyDir";
                    errors.push(FieldError::invalid(&at, name, detail));
                }
                Some(_) => {}
            }
        }
    });
}

/// A reference to a field of the pod: a plain one, or one entry of its labels or annotations.
pub(super) fn field_ref(errors: &mut ErrorList, path: &Path<'_>, field: &Value, allowed: &[&str]) {
    let [version, field] = ["apiVersion", "fieldPath"].map(|k| read::text(field, k));
    if !check::required(errors, &path.child("apiVersion"), version)
        || !check::required(errors, &path.child("fieldPath"), field)
    {
        return;
    }
    if version != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        errors.push(FieldError::invalid(&path.child("fieldPath"), field, detail));
        return;
    }
    let subscript = field.strip_suffix("']").and_then(|f| f.split_once("['"));
    match subscript {
        Some(("metadata.annotations", key)) => {
            check::faults(errors, path, key, names::qualified_name(&key.to_lowercase()));
        }
        Some(("metadata.labels", key)) => check::faults(errors, path, key, names::qualified_name(key)),
        Some((parent, _)) if !parent.is_empty() => {
            let detail =
                format!("error converting fieldPath: field label does not support subscript: {field}");
            errors.push(FieldError::invalid(&path.child("fieldPath"), field, detail));
        }
        None if allowed.contains(&field) => {}
        None if known_label(field) => {
            errors.push(FieldError::not_supported(&path.child("fieldPath"), field, allowed));
        }
        _ => {
            let detail = format!("error converting fieldPath: field label not supported: {field}");
            errors.push(FieldError::invalid(&path.child("fieldPath"), field, detail));
        }
    }
}

/// Fields that can be named at all, here or elsewhere.
fn known_label(field: &str) -> bool {
    FIELDS.contains(&field)
        || matches!(
            field,
            "metadata.labels"
                | "metadata.annotations"
                | "spec.restartPolicy"
                | "spec.schedulerName"
                | "status.phase"
        )
}

/// A reference to what a container asks for or is limited to.
pub(super) fn resource_ref(errors: &mut ErrorList, path: &Path<'_>, field: &Value, in_volume: bool) {
    let resource = read::text(field, "resource");
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_volume && read::text(field, "containerName").is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if check::required(errors, &path.child("resource"), resource)
        && !RESOURCES.contains(&resource)
        && !huge
    {
        errors.push(FieldError::not_supported(&path.child("resource"), resource, &RESOURCES));
    }
    let divisor = read::raw(field, "divisor").and_then(amounts::parse).filter(|d| !d.is_zero());
    let Some(divisor) = divisor.map(|d| d.to_string()) else { return };
    let of_bytes = |what: &str| {
        (!DIVISORS.contains(&divisor.as_str())).then(|| {
            format!(
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the {what} resource"
            )
        })
    };
    let detail = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" if !matches!(divisor.as_str(), "1m" | "1") => {
            Some("only divisor's values 1m and 1 are supported with the cpu resource".to_owned())
        }
        "memory" => of_bytes("memory"),
        "ephemeral-storage" => of_bytes("local ephemeral storage"),
        _ if huge => of_bytes("hugepages"),
        _ => None,
    };
    if let Some(detail) = detail {
        errors.push(FieldError::invalid(&path.child("divisor"), resource, detail));
    }
}

pub(super) fn env_from(errors: &mut ErrorList, path: &Path<'_>, container: &Value) {
    for (i, source) in read::list(container, "envFrom").iter().enumerate() {
        let at = path.index(i);
        let prefix = read::text(source, "prefix");
        if !prefix.is_empty() {
            check::faults(errors, &at.child("prefix"), prefix, names::relaxed_env_var_name(prefix));
        }
        let mut sources = 0;
        for key in ["configMapRef", "secretRef"] {
            let Some(reference) = read::get(source, key) else { continue };
            sources += 1;
            let name = read::text(reference, "name");
            let name_path = at.child(key);
            if check::required(errors, &name_path.child("name"), name) {
                let faults = names::object_name(names::dns1123_subdomain, name, true);
                check::faults(errors, &name_path.child("name"), name, faults);
            }
        }
        match sources {
            0 => errors.push(FieldError::invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(FieldError::invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
    }
}
