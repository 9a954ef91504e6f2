//! The annotation by which the pod of a node's own manifest is shown: set once, when the pod is made, and for good.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use crate::validation::read;

const MIRROR: &str = "kubernetes.io/config.mirror";

fn annotation(pod: &Object) -> Option<&Value> {
    read::get(read::get(read::top(pod, "metadata"), "annotations")?, MIRROR)
}

/// A pod that shows another is on its node from the beginning.
pub(super) fn made(errors: &mut ErrorList, pod: &Object) {
    let node = read::text(read::top(pod, "spec"), "nodeName");
    if let Some(value) = annotation(pod).filter(|_| node.is_empty()) {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        in_metadata(|at| errors.push(FieldError::invalid(at, value.clone(), detail)));
    }
}

/// No pod comes to show another, and none ceases to.
pub(super) fn changed(errors: &mut ErrorList, new: &Object, old: &Object) {
    let detail = match (annotation(old), annotation(new)) {
        (Some(before), after) if after != Some(before) => "may not remove or update mirror pod annotation",
        (None, Some(_)) => "may not add mirror pod annotation",
        _ => return,
    };
    in_metadata(|at| errors.push(FieldError::forbidden(at, detail)));
}

/// Whether the pod shows one that a node has from a manifest.
pub(super) fn shows_another(pod: &Object) -> bool {
    annotation(pod).is_some()
}

fn in_metadata(tell: impl FnOnce(&Path<'_>)) {
    let metadata = Path::root("metadata");
    tell(&metadata.child("annotations").key(MIRROR));
}
