//! Namespaces: live until their finalizers are gone, which only the `finalize` subresource removes.

use api::Object;
use serde_json::{Value, json};

use super::status;
use crate::fill;

/// The finalizer that waits until the namespace is empty.
const FINALIZER: &str = "kubernetes";

pub(super) fn prepare_create(namespace: &mut Object) {
    status::start(namespace, json!({"phase": "Active"}));
    let Some(spec) = fill::object(&mut namespace.0, "spec") else { return };
    fill::value(spec, "finalizers", json!([]));
    if let Some(finalizers) = spec.get_mut("finalizers").and_then(Value::as_array_mut)
        && !finalizers.iter().any(|f| f == FINALIZER)
    {
        finalizers.push(FINALIZER.into());
    }
}

pub(super) fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    match old.at(&["spec", "finalizers"]).cloned() {
        Some(finalizers) => new.set_at(&["spec", "finalizers"], finalizers),
        None => {
            new.remove_at(&["spec", "finalizers"]);
        }
    }
}
