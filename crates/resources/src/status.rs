//! Which writes may change the status: only those of its own subresource.

use api::Object;
use serde_json::Value;

/// Metadata that a status update leaves alone, where a kind is strict about it.
const GUARDED: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// A creator's status is not taken.
pub(crate) fn clear(object: &mut Object) {
    object.0.remove("status");
}

/// The status a new object has.
pub(crate) fn start(object: &mut Object, status: Value) {
    object.0.insert("status".into(), status);
}

/// The status stays as it was.
pub(crate) fn keep(new: &mut Object, old: &Object) {
    keep_field(new, old, "status");
}

/// A top-level field stays as it was.
pub(crate) fn keep_field(new: &mut Object, old: &Object, key: &str) {
    match old.0.get(key) {
        Some(value) => {
            // Mostly they are equal: no copy then.
            if new.0.get(key) != Some(value) {
                new.0.insert(key.to_owned(), value.clone());
            }
        }
        None => {
            new.0.remove(key);
        }
    }
}

/// Everything but `status` and metadata stays as it was.
pub(crate) fn keep_all_but_status(new: &mut Object, old: &Object) {
    new.0.retain(|key, _| matches!(key.as_str(), "status" | "metadata") || old.0.contains_key(key));
    for key in old.0.keys().filter(|key| !matches!(key.as_str(), "status" | "metadata")) {
        keep_field(new, old, key);
    }
}

/// The same, and labels, annotations, finalizers and owners stay too.
pub(crate) fn keep_all_else(new: &mut Object, old: &Object) {
    keep_all_but_status(new, old);
    keep_metadata(new, old, &GUARDED);
}

/// Fields of the metadata stay as they were.
pub(crate) fn keep_metadata(new: &mut Object, old: &Object, fields: &[&str]) {
    for field in fields {
        match old.metadata().and_then(|m| m.get(*field)) {
            Some(value) => new.metadata_mut().insert((*field).to_owned(), value.clone()),
            None => new.metadata_mut().remove(*field),
        };
    }
}
