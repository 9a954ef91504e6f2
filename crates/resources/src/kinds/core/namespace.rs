//! Namespaces: they live until their finalizers are gone, which only the `finalize` subresource removes.

use api::field::ErrorList;
use api::{Object, names};
use serde_json::{Value, json};

use crate::columns::basic;
use crate::defaults;
use crate::fill;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::PartHandler;
use crate::status;
use crate::validation::cluster;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "namespaces", Namespace)
        .short("ns")
        .selectable("status.phase")
        .named(names::dns1123_label)
        .columns(basic::NAMESPACE)
        .part("finalize", PartHandler::Finalize)
}

struct Namespace;

impl Logic for Namespace {
    fn default(&self, object: &mut Object) {
        defaults::namespace(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        prepare_new(object);
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        prepare_update(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        cluster::namespace(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("the finalizers stay as they were, and nothing else is in a spec")
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        cluster::namespace_status(new, old)
    }

    fn is_held(&self, object: &Object) -> bool {
        let finalizers = object.at(&["spec", "finalizers"]).and_then(Value::as_array);
        finalizers.is_some_and(|list| !list.is_empty())
    }

    fn mark_deleted(&self, object: &mut Object) {
        object.set_at(&["status", "phase"], "Terminating".into());
    }
}

/// The finalizer that waits until the namespace is empty.
const FINALIZER: &str = "kubernetes";

fn prepare_new(namespace: &mut Object) {
    status::start(namespace, json!({"phase": "Active"}));
    let Some(spec) = fill::object(&mut namespace.0, "spec") else { return };
    fill::value(spec, "finalizers", json!([]));
    if let Some(finalizers) = spec.get_mut("finalizers").and_then(Value::as_array_mut)
        && !finalizers.iter().any(|f| f == FINALIZER)
    {
        finalizers.push(FINALIZER.into());
    }
}

fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    match old.at(&["spec", "finalizers"]).cloned() {
        Some(finalizers) => new.set_at(&["spec", "finalizers"], finalizers),
        None => {
            new.remove_at(&["spec", "finalizers"]);
        }
    }
}
