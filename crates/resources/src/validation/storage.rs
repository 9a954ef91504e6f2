//! Persistent volumes, claims and storage classes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use api::quantity::Quantity;
use serde_json::Value;

use super::claim_spec::{access_modes, claim_spec, class_and_mode, positive};
use super::{amounts, check, pod, read};

const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_BYTES: usize = 256 * 1024;

pub(crate) fn claim(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    claim_spec(&mut errors, &Path::root("spec"), read::top(object, "spec"));
    errors
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
    let mode = |spec| read::raw(spec, "volumeMode");
    check::unchanged(&mut errors, &Path::root("volumeMode"), mode(after), mode(before));
    let class = |spec| read::get(spec, "volumeAttributesClassName");
    let is_applied = read::get(read::top(old, "status"), "currentVolumeAttributesClassName").is_some();
    if is_applied && class(after) != class(before) {
        let at = path.child("volumeAttributesClassName");
        let detail = match class(after).and_then(Value::as_str) {
            None => Some("update from non-nil value to nil is forbidden"),
            Some("") => Some("update from non-nil value to an empty string is forbidden"),
            Some(_) => None,
        };
        errors.extend(detail.map(|detail| FieldError::forbidden(&at, detail)));
    }
    errors
}

/// What expanding a claim, and changing its attributes, has come to.
pub(crate) fn claim_status(new: &Object, _old: &Object) -> ErrorList {
    const RESIZING: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizePending",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
    ];
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    let status = read::top(new, "status");
    let capacity = path.child("capacity");
    for (name, amount) in read::entries(status, "capacity") {
        not_negative(&mut errors, &capacity.key(name), amount);
    }
    // Upstream names the field so.
    let at = path.child("allocatedResourceStatus");
    for (name, said) in read::pairs(status, "allocatedResourceStatuses") {
        resource_of_claim(&mut errors, &at, name);
        if !RESIZING.contains(&said) {
            errors.push(FieldError::not_supported(&at, name, &RESIZING));
        }
    }
    let at = path.child("allocatedResources");
    for (name, amount) in read::entries(status, "allocatedResources") {
        if resource_of_claim(&mut errors, &at, name) {
            not_negative(&mut errors, &at.key(name), amount);
        }
    }
    errors
}

fn not_negative(errors: &mut ErrorList, path: &Path<'_>, amount: &Value) {
    if let Some(quantity) = amounts::parse(amount).filter(|q| q.signum() < 0) {
        errors.push(FieldError::invalid(path, quantity.value(), "must be a valid resource quantity"));
    }
}

/// Whether a name is that of what a claim has of a volume.
fn resource_of_claim(errors: &mut ErrorList, path: &Path<'_>, name: &str) -> bool {
    let faults = names::qualified_name(name);
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    let is_sound = faults.is_empty() && (!is_native || name == "storage");
    if faults.is_empty() && !is_sound {
        errors.push(FieldError::not_supported(path, name, &["storage"]));
    }
    check::faults(errors, path, name, faults);
    is_sound
}

pub(crate) fn volume(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    access_modes(&mut errors, &path, spec, "");
    volume_capacity(&mut errors, &path.child("capacity"), spec);
    let policy = read::text(spec, "persistentVolumeReclaimPolicy");
    let policies = ["Delete", "Recycle", "Retain"];
    check::if_given_one_of(&mut errors, &path.child("persistentVolumeReclaimPolicy"), policy, &policies);
    if let Some(affinity) = read::get(spec, "nodeAffinity") {
        let at = path.child("nodeAffinity");
        match read::get(affinity, "required") {
            Some(required) => pod::node_selector(&mut errors, &at.child("required"), required),
            None => {
                let detail = "must specify required node constraints";
                errors.push(FieldError::required(&at.child("required"), detail));
            }
        }
    } else if read::get(spec, "local").is_some() {
        let metadata = Path::root("metadata");
        let detail = "Local volume requires node affinity";
        errors.push(FieldError::required(&metadata.child("annotations"), detail));
    }
    pod::persistent(&mut errors, &path, spec, object.name());
    let on_host = read::get(spec, "hostPath").map(|source| read::text(source, "path"));
    if on_host.is_some_and(|host| !host.is_empty() && host.trim_matches('/').is_empty())
        && policy == "Recycle"
    {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden(&path.child("persistentVolumeReclaimPolicy"), detail));
    }
    class_and_mode(&mut errors, &path, spec);
    volume_attributes(&mut errors, &path, spec);
    errors
}

/// The size of a volume, and nothing else.
fn volume_capacity(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let capacity = read::of(spec, "capacity");
    let count = read::entries(spec, "capacity").count();
    if count == 0 {
        errors.push(FieldError::required(path, ""));
    }
    if count != 1 || read::raw(capacity, "storage").is_none() {
        errors.push(FieldError::not_supported(path, capacity.clone(), &["storage"]));
    }
    for (name, amount) in read::entries(spec, "capacity") {
        let at = path.key(name);
        not_negative(errors, &at, amount);
        positive(errors, &at, amount);
    }
}

fn volume_attributes(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let key = "volumeAttributesClassName";
    if read::get(spec, key).is_none() {
        return;
    }
    let class = read::text(spec, key);
    if class.is_empty() {
        errors.push(FieldError::required(&path.child(key), "an empty string is disallowed"));
    } else {
        check::faults(errors, &path.child(key), class, names::dns1123_subdomain(class));
    }
    if read::get(spec, "csi").is_none() {
        let detail = "has to be specified when using volumeAttributesClassName";
        errors.push(FieldError::required(&path.child("csi"), detail));
    }
}

/// A volume that is no object, of which an attachment speaks.
pub(super) fn inline_volume(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let detail = "may not be specified in the context of inline volumes";
    if read::get(spec, "claimRef").is_some() {
        errors.push(FieldError::forbidden(&path.child("claimRef"), detail));
    }
    if read::entries(spec, "capacity").next().is_some() {
        errors.push(FieldError::forbidden(&path.child("capacity"), detail));
    }
    if read::get(spec, "csi").is_none() {
        let detail = "has to be specified in the context of inline volumes";
        errors.push(FieldError::required(&path.child("csi"), detail));
    }
    access_modes(errors, path, spec, "");
    if !matches!(read::text(spec, "persistentVolumeReclaimPolicy"), "" | "Retain") {
        let detail = "may only be Retain in the context of inline volumes";
        errors.push(FieldError::forbidden(&path.child("persistentVolumeReclaimPolicy"), detail));
    }
    if read::get(spec, "nodeAffinity").is_some() {
        errors.push(FieldError::forbidden(&path.child("nodeAffinity"), detail));
    }
    pod::persistent(errors, path, spec, "");
    if !read::text(spec, "storageClassName").is_empty() {
        errors.push(FieldError::forbidden(&path.child("storageClassName"), detail));
    }
    if !matches!(read::text(spec, "volumeMode"), "" | "Filesystem") {
        let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.push(FieldError::forbidden(&path.child("volumeMode"), detail));
    }
    volume_attributes(errors, path, spec);
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

/// What a class tells the driver.
fn parameters(errors: &mut ErrorList, object: &Object) {
    let path = Path::root("parameters");
    let parameters = read::top(object, "parameters");
    if read::strings(parameters).count() > MAX_PARAMETERS {
        errors.push(FieldError::too_long(&path, MAX_PARAMETERS));
        return;
    }
    let mut bytes = 0;
    for (key, value) in read::strings(parameters) {
        if key.is_empty() {
            errors.push(FieldError::invalid(&path, key, "field can not be empty."));
        }
        bytes += key.len() + value.len();
    }
    if bytes > MAX_PARAMETERS_BYTES {
        errors.push(FieldError::too_long(&path, MAX_PARAMETERS_BYTES));
    }
}

pub(crate) fn attributes_class(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    driver(&mut errors, "driverName", object);
    parameters(&mut errors, object);
    if read::strings(read::top(object, "parameters")).next().is_none() {
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
    parameters(&mut errors, object);
    let policy = text("reclaimPolicy");
    check::if_given_one_of(&mut errors, &Path::root("reclaimPolicy"), policy, &["Delete", "Retain"]);
    let mode = text("volumeBindingMode");
    let modes = ["Immediate", "WaitForFirstConsumer"];
    check::one_of(&mut errors, &Path::root("volumeBindingMode"), mode, &modes);
    topologies(&mut errors, object);
    errors
}

/// Where volumes of a class may be made: each term is another.
fn topologies(errors: &mut ErrorList, object: &Object) {
    let path = Path::root("allowedTopologies");
    let mut seen: HashSet<BTreeMap<&str, BTreeSet<&str>>> = HashSet::new();
    for (i, term) in read::top(object, "allowedTopologies").as_array().into_iter().flatten().enumerate() {
        let at = path.index(i);
        let expressions = at.child("matchLabelExpressions");
        let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        if read::list(term, "matchLabelExpressions").is_empty() {
            errors.push(FieldError::required(&expressions, ""));
        }
        for (j, expression) in read::list(term, "matchLabelExpressions").iter().enumerate() {
            let at = expressions.index(j);
            let key = read::text(expression, "key");
            let values: BTreeSet<&str> = read::texts(expression, "values").collect();
            if values.is_empty() {
                errors.push(FieldError::required(&at.child("values"), ""));
            }
            let mut once = HashSet::new();
            let values_path = at.child("values");
            for (k, value) in read::texts(expression, "values").enumerate() {
                if !once.insert(value) {
                    errors.push(FieldError::duplicate(&values_path.index(k), value));
                }
            }
            check::faults(errors, &at.child("key"), key, names::qualified_name(key));
            if wanted.insert(key, values).is_some() {
                errors.push(FieldError::duplicate(&at.child("key"), key));
            }
        }
        if !seen.insert(wanted) {
            errors.push(FieldError::duplicate(&expressions, ""));
        }
    }
}
