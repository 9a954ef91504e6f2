//! Persistent volumes, claims and storage classes.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use api::quantity::Quantity;
use serde_json::Value;

use super::{amounts, check, pod, read, selector};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];

fn access_modes(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, missing: &str) {
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

fn class_and_mode(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let class = read::text(spec, "storageClassName");
    if !class.is_empty() {
        check::faults(errors, &path.child("storageClassName"), class, names::dns1123_subdomain(class));
    }
    let mode = read::text(spec, "volumeMode");
    check::if_given_one_of(errors, &path.child("volumeMode"), mode, &VOLUME_MODES);
}

fn positive(errors: &mut ErrorList, path: &Path<'_>, value: &Value) {
    if let Some(quantity) = amounts::parse(value).filter(|q| q.signum() <= 0) {
        errors.push(FieldError::invalid(path, quantity.to_string(), check::NOT_POSITIVE));
    }
}

pub(crate) fn claim(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    claim_spec(&mut errors, &Path::root("spec"), read::top(object, "spec"));
    errors
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
}

/// A claim's spec stays, but for the size asked for and what binding writes.
pub(crate) fn claim_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = claim(new);
    let path = Path::root("spec");
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    let bound = !read::text(before, "volumeName").is_empty();
    let mut munged = after.clone();
    if let Some(fields) = munged.as_object_mut() {
        let mut free = vec!["volumeAttributesClassName"];
        if !bound {
            free.push("volumeName");
        }
        if bound {
            free.push("resources");
        }
        if read::text(before, "storageClassName").is_empty() {
            free.push("storageClassName");
        }
        for key in free {
            match read::raw(before, key) {
                Some(value) => fields.insert(key.to_owned(), value.clone()),
                None => fields.remove(key),
            };
        }
    }
    if munged != *before {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden(&path, detail));
    }
    let size = |spec: &Value| read::at(spec, &["resources", "requests", "storage"]).and_then(amounts::parse);
    let given = read::at(read::top(old, "status"), &["capacity", "storage"]).and_then(amounts::parse);
    if let (Some(new), Some(old)) = (size(after), size(before))
        && new < old
        && new <= given.unwrap_or(Quantity::ZERO)
    {
        let at = path.child("resources");
        let detail = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden(&at.child("requests").child("storage"), detail));
    }
    errors
}

pub(crate) fn volume(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    access_modes(&mut errors, &path, spec, "");
    let at = path.child("capacity");
    match read::raw(spec, "capacity").and_then(|c| read::raw(c, "storage")) {
        None => errors.push(FieldError::required(&at, "")),
        Some(storage) => positive(&mut errors, &at.key("storage"), storage),
    }
    let policy = read::text(spec, "persistentVolumeReclaimPolicy");
    let policies = ["Delete", "Recycle", "Retain"];
    check::if_given_one_of(&mut errors, &path.child("persistentVolumeReclaimPolicy"), policy, &policies);
    if let Some(required) = read::at(spec, &["nodeAffinity", "required"]) {
        let at = path.child("nodeAffinity");
        pod::node_selector(&mut errors, &at.child("required"), required);
    }
    pod::persistent(&mut errors, &path, spec);
    class_and_mode(&mut errors, &path, spec);
    errors
}

/// What a volume's specification says besides where its data are.
const NO_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// A volume's data stay where they are, and what they are.
pub(crate) fn volume_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = volume(new);
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    let source = |spec: &Value| {
        let mut spec = spec.as_object().cloned().unwrap_or_default();
        spec.retain(|key, _| !NO_SOURCE.contains(&key.as_str()));
        spec
    };
    if source(after) != source(before) {
        let at = Path::root("spec");
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden(&at.child("persistentvolumesource"), detail));
    }
    let mode = read::text(after, "volumeMode");
    if mode != read::text(before, "volumeMode") {
        errors.push(FieldError::invalid(&Path::root("volumeMode"), mode.to_owned(), super::IMMUTABLE));
    }
    let affinity = |spec| read::raw(spec, "nodeAffinity");
    if affinity(before).is_some() && affinity(after) != affinity(before) {
        let detail = format!("{}, except for updating from beta label to GA", super::IMMUTABLE);
        let value = affinity(after).cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&Path::root("nodeAffinity"), value, detail));
    }
    errors
}

/// The name of whoever makes or changes volumes.
fn driver(errors: &mut ErrorList, key: &str, object: &Object) {
    let name = read::top_raw(object, key).and_then(Value::as_str).unwrap_or("");
    let path = Path::root(key);
    if check::required(errors, &path, name) {
        let faults = names::qualified_name(&name.to_lowercase());
        check::faults(errors, &path, name, faults);
    }
}

pub(crate) fn attributes_class(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    driver(&mut errors, "driverName", object);
    let parameters = read::top_raw(object, "parameters").and_then(Value::as_object);
    if parameters.is_none_or(serde_json::Map::is_empty) {
        errors.push(FieldError::required(
            &Path::root("parameters"),
            "must contain at least one key/value pair",
        ));
    }
    errors
}

/// Volumes are made by what the class says: it stays.
pub(crate) fn attributes_class_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = attributes_class(new);
    for key in ["driverName", "parameters"] {
        if read::top_raw(new, key) != read::top_raw(old, key) {
            let detail = format!("updates to {key} are forbidden.");
            errors.push(FieldError::forbidden(&Path::root(key), detail));
        }
    }
    errors
}

pub(crate) fn storage_class(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let text = |key: &str| read::top_raw(object, key).and_then(Value::as_str).unwrap_or("");
    driver(&mut errors, "provisioner", object);
    let policy = text("reclaimPolicy");
    check::if_given_one_of(&mut errors, &Path::root("reclaimPolicy"), policy, &["Delete", "Retain"]);
    let mode = text("volumeBindingMode");
    let modes = ["Immediate", "WaitForFirstConsumer"];
    check::one_of(&mut errors, &Path::root("volumeBindingMode"), mode, &modes);
    errors
}
