//! Pods and pod templates, as upstream's `pkg/apis/core/validation/validation.go`.
//!
//! Start with [`create`]; `spec` checks what pods and templates have in common, `update` what may
//! change. Metadata common to all kinds is checked by the machinery.

mod affinity;
mod annotations;
mod container;
mod container_status;
mod diff;
mod dns;
mod each;
mod env;
mod files;
mod mirror;
mod mounts;
mod probe;
mod projected;
mod resize;
mod security;
mod sources;
mod spec;
mod status;
mod systems;
mod update;
mod volume;
mod warnings;
mod whole;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::{check, read};

pub(super) use affinity::node_selector;
pub(crate) use resize::part_update;
pub(super) use spec::{TAINT_EFFECTS, tolerations};
pub(crate) use status::status_update;
pub(crate) use update::update;
pub(super) use volume::persistent;
pub(crate) use warnings::{
    of_pod as warnings, of_template as template_warnings, of_template_at as template_warnings_at,
};
pub(in crate::validation) use warnings::{of_term as term_warnings, old_label};

/// A new pod.
pub(crate) fn create(pod: &Object) -> ErrorList {
    let mut errors = metadata_and_spec(pod, None);
    let path = Path::root("spec");
    let spec = read::top(pod, "spec");
    if !read::list(spec, "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    if !read::text(spec, "nodeName").is_empty() && !read::list(spec, "schedulingGates").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&path.child("nodeName"), detail));
    }
    let metadata = read::top(pod, "metadata");
    annotations::seccomp_agrees(&mut errors, &path, metadata, spec);
    annotations::apparmor_agrees(&mut errors, &path, metadata, spec);
    errors
}

fn metadata_and_spec(pod: &Object, before: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    mirror::made(&mut errors, pod);
    let path = Path::root("spec");
    let spec = read::top(pod, "spec");
    let metadata = Path::root("metadata");
    let before = before.map(|pod| read::top(pod, "metadata"));
    let of_pod = read::top(pod, "metadata");
    annotations::specific(&mut errors, &metadata.child("annotations"), of_pod, spec, before);
    spec::pod_spec(&mut errors, &path, spec, Some(pod.name()));
    if read::text(spec, "serviceAccountName").is_empty() {
        tokens_without_account(&mut errors, &path.child("volumes"), spec);
    }
    for list in ["containers", "initContainers"] {
        container::trimmed_images(&mut errors, &path.child(list), read::list(spec, list));
    }
    errors
}

fn tokens_without_account(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for (i, volume) in read::list(spec, "volumes").iter().enumerate() {
        let Some(projected) = read::get(volume, "projected") else { continue };
        let at = path.index(i);
        let at = at.child("projected");
        let at = at.child("sources");
        for (j, source) in read::list(projected, "sources").iter().enumerate() {
            if read::get(source, "serviceAccountToken").is_some() {
                let detail = "must not be specified when serviceAccountName is not set";
                errors.push(FieldError::forbidden(&at.index(j).child("serviceAccountToken"), detail));
            }
        }
    }
}

/// A pod template: its labels and annotations, and the spec.
pub(super) fn template(errors: &mut ErrorList, path: &Path<'_>, template: &Value) {
    template_metadata(errors, path, template);
    let metadata = read::of(template, "metadata");
    let spec = read::of(template, "spec");
    spec::pod_spec(errors, &path.child("spec"), spec, None);
    annotations::seccomp_agrees(errors, &path.child("spec"), metadata, spec);
    annotations::apparmor_agrees(errors, &path.child("spec"), metadata, spec);
    if !read::list(spec, "ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&path.child("spec").child("ephemeralContainers"), detail));
    }
}

/// The labels and annotations of a pod template.
pub(super) fn template_metadata(errors: &mut ErrorList, path: &Path<'_>, template: &Value) {
    let metadata = read::of(template, "metadata");
    check::labels(errors, &path.child("labels"), read::pairs(metadata, "labels"));
    let at = path.child("annotations");
    check::annotations(errors, &at, read::pairs(metadata, "annotations"));
    annotations::specific(errors, &at, metadata, read::of(template, "spec"), None);
}

/// A `PodTemplate` object.
pub(crate) fn pod_template(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    template(&mut errors, &Path::root("template"), read::top(object, "template"));
    errors
}
