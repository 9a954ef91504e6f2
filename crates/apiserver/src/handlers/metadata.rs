//! The rules of `metadata` for every kind: what a creator may set, what an update keeps,
//! what is valid. Pure. Facts: upstream's `apimachinery/pkg/api/validation/objectmeta.go` and
//! `apiserver/pkg/registry/rest/{create,update,meta}.go`.

use api::field::{ErrorList, FieldError, Path};
use api::{Error, Object, names};
use jiff::Timestamp;
use resources::Resource;
use serde_json::{Map, Value};

/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;
/// Generated names leave room for the suffix within a label.
const GENERATED_BASE_MAX: usize = 58;
const GENERATED_SUFFIX: usize = 5;

/// A time as the API writes it: whole seconds, UTC.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Sets the object's namespace to the request's, where the object names none.
///
/// # Errors
/// 400 when both are there and differ.
pub(crate) fn settle_namespace(row: &Resource, object: &mut Object, namespace: &str) -> Result<(), Error> {
    let own = object.namespace();
    if !row.namespaced() {
        if !own.is_empty() {
            object.metadata_mut().remove("namespace");
        }
        return Ok(());
    }
    if own.is_empty() {
        object.set_meta_str("namespace", namespace);
    } else if own != namespace {
        return Err(Error::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Checks that an object to be written under a URL bears that URL's name.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn check_name(object: &Object, namespace: &str, name: &str) -> Result<(), Error> {
    let own = object.name();
    if own.is_empty() {
        return Err(Error::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if own != name {
        return Err(Error::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    let own = object.namespace();
    if !namespace.is_empty() && !own.is_empty() && own != namespace {
        return Err(Error::bad_request(format!(
            "the namespace of the object ({own}) does not match the namespace on the request ({namespace})"
        )));
    }
    Ok(())
}

/// Whether the server shall make up the name.
pub(crate) fn wants_generated_name(object: &Object) -> bool {
    object.name().is_empty() && !object.meta_str("generateName").is_empty()
}

/// A name from `generateName`.
pub(crate) fn generate_name(object: &Object) -> String {
    let base = object.meta_str("generateName");
    let mut end = base.len().min(GENERATED_BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], base::random::name_suffix(GENERATED_SUFFIX))
}

/// What the server sets at creation, and what a creator may not.
pub(crate) fn prepare_create(row: &Resource, object: &mut Object, now: Timestamp) {
    let metadata = object.metadata_mut();
    for field in
        ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"]
    {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), base::random::uuid().into());
    metadata.insert("creationTimestamp".into(), seconds(now).into());
    if row.rules.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
}

/// What an update keeps of the old object whatever the new one says.
pub(crate) fn prepare_update(new: &mut Object, old: &Object) {
    let metadata = new.metadata_mut();
    let empty = Map::new();
    let before = old.metadata().unwrap_or(&empty);
    for field in ["generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        match before.get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.remove(field),
        };
    }
    // Absent means unchanged; anything else is for validation to judge.
    for field in ["uid", "creationTimestamp", "namespace"] {
        let absent = metadata.get(field).is_none_or(|v| v.is_null() || v.as_str() == Some(""));
        if absent && let Some(value) = before.get(field) {
            metadata.insert(field.into(), value.clone());
        }
    }
}

/// Counts a change of anything but metadata and of a status that has its own subresource.
pub(crate) fn bump_generation(row: &Resource, new: &mut Object, old: &Object) {
    let has_status = row.part("status").is_some() || row.schema.custom().is_none();
    let counts = |key: &str| key != "metadata" && !(has_status && key == "status");
    let differs = |key: &str| counts(key) && new.0.get(key) != old.0.get(key);
    let changed = new.0.keys().any(|k| differs(k)) || old.0.keys().any(|k| differs(k));
    if changed {
        let next = old.generation() + 1;
        new.metadata_mut().insert("generation".into(), next.into());
    }
}

/// Finalizers that need no domain before their name.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Groups of which upstream asks no more of finalizers than of those of custom kinds: their validation knows the
/// metadata's rules of `apimachinery` alone, not those of `pkg/apis/core/validation`.
const FREE_FINALIZERS: [&str; 4] =
    ["admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io"];

fn is_unqualified(finalizer: &str) -> bool {
    !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer)
}

fn validate_domains(row: &Resource, object: &Object, path: &Path<'_>, errors: &mut ErrorList) {
    if row.schema.custom().is_some() || FREE_FINALIZERS.contains(&&*row.group) {
        return;
    }
    for (i, finalizer) in object.finalizers().enumerate().filter(|(_, name)| is_unqualified(name)) {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(FieldError::invalid(&path.index(i), finalizer, detail));
    }
}

/// What a client is warned of about the finalizers that its write adds to an object of a custom kind (upstream:
/// `apiextensions-apiserver/pkg/registry/customresource`).
pub(crate) fn finalizer_warnings(row: &Resource, new: &Object, old: Option<&Object>) -> Vec<String> {
    if row.schema.custom().is_none() {
        return Vec::new();
    }
    let is_old = |name: &str| old.is_some_and(|old| old.finalizers().any(|known| known == name));
    let mut added: Vec<&str> =
        new.finalizers().filter(|name| is_unqualified(name) && !is_old(name)).collect();
    added.sort_unstable();
    added.dedup();
    let warning = |name: &str| {
        format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"
        )
    };
    added.into_iter().map(warning).collect()
}

/// Everything wrong with an object's metadata.
pub(crate) fn validate(row: &Resource, object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = Path::root("metadata");
    let name = object.name();
    let generate = object.meta_str("generateName");
    if !generate.is_empty() {
        for fault in names::object_name(row.rules.name_grammar, generate, true) {
            errors.push(FieldError::invalid(&root.child("generateName"), generate, fault));
        }
    }
    if name.is_empty() {
        errors.push(FieldError::required(&root.child("name"), "name or generateName is required"));
    } else {
        for fault in (row.rules.name_grammar)(name) {
            errors.push(FieldError::invalid(&root.child("name"), name, fault));
        }
    }
    if row.namespaced() {
        let namespace = object.namespace();
        if namespace.is_empty() {
            errors.push(FieldError::required(&root.child("namespace"), ""));
        } else {
            for fault in names::dns1123_label(namespace) {
                errors.push(FieldError::invalid(&root.child("namespace"), namespace, fault));
            }
        }
    }
    validate_labels(object, &root.child("labels"), &mut errors);
    validate_annotations(object, &root.child("annotations"), &mut errors);
    validate_owners(object, &root.child("ownerReferences"), &mut errors);
    validate_finalizers(object, &root.child("finalizers"), &mut errors);
    validate_domains(row, object, &root.child("finalizers"), &mut errors);
    errors
}

fn validate_labels(object: &Object, path: &Path<'_>, errors: &mut ErrorList) {
    for (key, value) in object.labels() {
        for fault in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, key, fault));
        }
        for fault in names::label_value(value) {
            errors.push(FieldError::invalid(path, value, fault));
        }
    }
}

fn validate_annotations(object: &Object, path: &Path<'_>, errors: &mut ErrorList) {
    let mut total = 0;
    for (key, value) in object.annotations() {
        for fault in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, key, fault));
        }
        total += key.len() + value.len();
    }
    if total > ANNOTATIONS_MAX_BYTES {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX_BYTES));
    }
}

fn validate_owners(object: &Object, path: &Path<'_>, errors: &mut ErrorList) {
    let owners = object.metadata().and_then(|m| m.get("ownerReferences")).and_then(Value::as_array);
    let mut controller: Option<String> = None;
    for (i, owner) in owners.into_iter().flatten().enumerate() {
        let at = path.index(i);
        let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or("");
        if text("apiVersion").is_empty() {
            errors.push(FieldError::invalid(&at.child("apiVersion"), "", "version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.push(FieldError::invalid(&at.child(field), "", "must not be empty"));
            }
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            let this = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                errors.push(FieldError::invalid(
                    path,
                    Value::Array(owners.cloned().unwrap_or_default()),
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"),
                ));
            }
            controller.get_or_insert(this);
        }
    }
}

fn validate_finalizers(object: &Object, path: &Path<'_>, errors: &mut ErrorList) {
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in object.finalizers() {
        for fault in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid(path, finalizer, fault));
        }
        orphan |= finalizer == "orphan";
        foreground |= finalizer == "foregroundDeletion";
    }
    if orphan && foreground {
        let all: Vec<&str> = object.finalizers().collect();
        errors.push(FieldError::invalid(
            path,
            Value::from(all),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}

/// Everything wrong with a change of metadata; includes [`validate`].
pub(crate) fn validate_update(row: &Resource, new: &Object, old: &Object) -> ErrorList {
    let root = Path::root("metadata");
    let mut errors = ErrorList::new();
    if old.deletion_timestamp().is_some() {
        let added: Vec<&str> = new.finalizers().filter(|f| !old.finalizers().any(|o| o == *f)).collect();
        if !added.is_empty() {
            errors.push(FieldError::forbidden(
                &root.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", ")
                ),
            ));
        }
    }
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        if new.meta_str(field) != old.meta_str(field) {
            errors.push(FieldError::invalid(&root.child(field), new.meta_str(field), "field is immutable"));
        }
    }
    errors.extend(validate(row, new));
    errors
}
