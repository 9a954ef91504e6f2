//! The specification of a claim of a volume: of claims themselves, of templates of claims, of volumes made for one pod.
//! What it has in common with a volume's is here too.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{amounts, check, read, selector};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];

pub(super) fn access_modes(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, missing: &str) {
    let at = path.child("accessModes");
    if read::list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(&at, missing));
    }
    for mode in read::texts(spec, "accessModes") {
        if !ACCESS_MODES.contains(&mode) {
            errors.push(FieldError::not_supported(&at, mode, &ACCESS_MODES));
        }
    }
    if read::list(spec, "accessModes").len() > 1
        && read::texts(spec, "accessModes").any(|m| m == "ReadWriteOncePod")
    {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(&at, detail));
    }
}

pub(super) fn class_and_mode(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let class = read::text(spec, "storageClassName");
    if !class.is_empty() {
        check::faults(errors, &path.child("storageClassName"), class, names::dns1123_subdomain(class));
    }
    let mode = read::text(spec, "volumeMode");
    check::if_given_one_of(errors, &path.child("volumeMode"), mode, &VOLUME_MODES);
}

pub(super) fn positive(errors: &mut ErrorList, path: &Path<'_>, value: &Value) {
    if let Some(quantity) = amounts::parse(value).filter(|q| q.signum() <= 0) {
        errors.push(FieldError::invalid(path, quantity.to_string(), check::NOT_POSITIVE));
    }
}

/// The spec of a claim, also of those that are templates.
pub(super) fn claim_spec(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    access_modes(errors, path, spec, "at least 1 access mode is required");
    selector::label_selector(errors, &path.child("selector"), read::get(spec, "selector"));
    let at = path.child("resources");
    match read::at(spec, &["resources", "requests", "storage"]) {
        None => errors.push(FieldError::required(&at.key("storage"), "")),
        Some(storage) => positive(errors, &at.key("storage"), storage),
    }
    class_and_mode(errors, path, spec);
    data_sources(errors, path, spec);
    let class = read::text(spec, "volumeAttributesClassName");
    if !class.is_empty() {
        let faults = names::dns1123_subdomain(class);
        check::faults(errors, &path.child("volumeAttributesClassName"), class, faults);
    }
}

/// What a volume is filled with.
fn data_sources(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let [old, new] = ["dataSource", "dataSourceRef"].map(|key| read::get(spec, key));
    for (key, source) in [("dataSource", old), ("dataSourceRef", new)] {
        if let Some(source) = source {
            data_source(errors, &path.child(key), source);
        }
    }
    let namespace = new.map_or("", |new| read::text(new, "namespace"));
    if !namespace.is_empty() {
        let at = path.child("dataSourceRef");
        check::faults(errors, &at.child("namespace"), namespace, names::dns1123_label(namespace));
    }
    let (Some(old), Some(new)) = (old, new) else { return };
    let detail = if !namespace.is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if ["apiGroup", "kind", "name"].iter().any(|key| read::text(old, key) != read::text(new, key)) {
        "must match dataSourceRef"
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, path.child("dataSource").to_string(), detail));
}

fn data_source(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    let [name, kind, group] = ["name", "kind", "apiGroup"].map(|key| read::text(source, key));
    check::required(errors, &path.child("name"), name);
    check::required(errors, &path.child("kind"), kind);
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(path, kind, detail));
    }
    if !group.is_empty() {
        check::faults(errors, &path.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
}

/// Of amounts that are no whole bytes.
pub(super) fn warnings(warnings: &mut Vec<String>, path: &str, spec: &Value) {
    let Some(resources) = read::get(spec, "resources") else { return };
    for list in ["requests", "limits"] {
        for (_, amount) in read::entries(resources, list).filter(|(name, _)| *name == "storage") {
            if amounts::parse(amount).is_some_and(|quantity| quantity.milli_value() % 1000 != 0) {
                let shown = amount.as_str().unwrap_or("");
                warnings.push(format!(
                    "{path}.resources.{list}[storage]: fractional byte value {shown:?} is invalid, must be an integer"
                ));
            }
        }
    }
}
