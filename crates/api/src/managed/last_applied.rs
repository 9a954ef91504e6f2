//! The annotation in which client-side apply keeps the configuration it applied last. Where an object carries it, a
//! server-side apply by the same client takes over what client-side apply set ([`own_fields`]), and keeps the
//! annotation in step ([`keep`]), so that a later client-side apply knows what to prune (upstream:
//! `apimachinery/pkg/util/managedfields/internal/lastappliedmanager.go` and `lastappliedupdater.go`).

use serde_json::Value;

use super::compare::{changes, named_fields};
use super::{FieldSet, Writer, typed};
use crate::Object;
use crate::schema::{StructId, Types};

/// The only manager whose applies touch the annotation.
const CLIENT: &str = "kubectl";
pub(super) const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations of an object together, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The configuration as the annotation holds it, where the apply is one that keeps the annotation in step with it.
pub(super) fn text(config: &Object, writer: &Writer<'_>) -> Option<String> {
    if writer.manager != CLIENT {
        return None;
    }
    let mut config = config.clone();
    config.remove_at(&["metadata", "annotations", ANNOTATION]);
    // Of a map alone, whose members are in alphabetical order, as those of a configuration are upstream.
    let mut text = serde_json::to_string(&config.0).ok()?;
    text.push('\n');
    Some(text)
}

/// Puts the text in the place of the annotation, where the object has one. One that is too large goes.
pub(super) fn keep(object: &mut Object, text: String) {
    if object.annotation(ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let others = object.annotations().filter(|(key, _)| *key != ANNOTATION);
    let bytes: usize = others.map(|(key, value)| key.len() + value.len()).sum();
    if bytes + ANNOTATION.len() + text.len() > MAX_BYTES {
        object.remove_at(&["metadata", "annotations", ANNOTATION]);
    } else {
        object.set_at(&["metadata", "annotations", ANNOTATION], text.into());
    }
}

/// The fields that the client set by client-side apply and that still have the values it set: taking them from whoever
/// owns them is no conflict. None where another manager applies, or where the annotation does not hold a configuration
/// of the object's type and version.
pub(super) fn own_fields(types: &Types, id: StructId, live: &Object, writer: &Writer<'_>) -> FieldSet {
    let text = live.annotation(ANNOTATION).filter(|_| writer.manager == CLIENT);
    let config = text.and_then(|text| serde_json::from_str::<Value>(text).ok()).and_then(Object::from_value);
    let Some(config) = config else { return FieldSet::default() };
    if config.api_version() != writer.api_version
        || config.kind() != live.kind()
        || typed::check(types, id, &config).is_err()
    {
        return FieldSet::default();
    }
    let mut fields = named_fields(types, id, &config);
    let since = changes(types, id, Some(&config), live);
    fields.subtract(&since.taken);
    fields.subtract(&since.removed);
    fields
}
