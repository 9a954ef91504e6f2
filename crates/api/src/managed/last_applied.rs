//! The annotation in which client-side apply keeps the configuration it applied last. Where an object carries it, a
//! server-side apply by the same client keeps it in step, so that a later client-side apply knows what to prune
//! (upstream: `apimachinery/pkg/util/managedfields/internal/lastappliedupdater.go`).

use super::Writer;
use crate::Object;

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
