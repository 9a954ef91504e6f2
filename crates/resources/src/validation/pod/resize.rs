//! Changes of a pod by its subresources: containers added to it for a look inside, and what its containers ask for.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::{Map, Value};

use super::update::changed_annotations;
use super::{metadata_and_spec, mirror};
use crate::qos::qos_class;
use crate::validation::read;

const ONLY_AMOUNTS: &str = "only cpu and memory resources are mutable";
const ONLY_AMOUNTS_OF_POD: &str = "only cpu and memory resources are mutable at pod-level";

/// Ephemeral containers added, or the resources of containers changed.
pub(crate) fn part_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = metadata_and_spec(new, Some(old));
    let [after, before] = [new, old].map(|pod| read::top(pod, "spec"));
    let is_added = read::list(after, "ephemeralContainers") != read::list(before, "ephemeralContainers");
    let whole = Path::root("");
    let refused = if !mirror::shows_another(old) {
        let is_windows = read::get(before, "os").is_some_and(|os| read::text(os, "name") == "windows");
        (is_windows && !is_added).then_some("windows pods cannot be resized")
    } else if is_added {
        // The manifest of a node alone says what runs.
        Some("static pods do not support ephemeral containers")
    } else {
        (after != before).then_some("static pods cannot be resized")
    };
    if let Some(detail) = refused {
        return vec![FieldError::forbidden(&whole, detail)];
    }
    if is_added {
        changed_annotations(&mut errors, new, old);
    } else {
        resize(&mut errors, new, old);
    }
    errors
}

fn resize(errors: &mut ErrorList, new: &Object, old: &Object) {
    let path = Path::root("spec");
    let class = qos_class(new);
    if class != qos_class(old) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&path, class, detail));
    }
    let status = read::top(old, "status");
    let running = read::list(status, "containerStatuses")
        .iter()
        .find(|container| read::get(container, "state").is_some_and(|s| read::get(s, "running").is_some()));
    if running.is_some_and(|container| read::get(container, "resources").is_none()) {
        errors.push(FieldError::forbidden(&path, "Pod running on node without support for resize"));
    }
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    whole_kept(errors, &path, after, before);
    if !read::list(status, "nodeAllocatableResourceClaimStatuses").is_empty() {
        let detail = "pods with node allocatable resource claims cannot be resized";
        errors.push(FieldError::forbidden(&path, detail));
    }
    if !["containers", "initContainers"]
        .map(|list| same_names(errors, &path, list, after, before))
        .iter()
        .all(|same| *same)
    {
        return;
    }
    for list in ["initContainers", "containers"] {
        let at = path.child(list);
        for (i, (new, old)) in read::list(after, list).iter().zip(read::list(before, list)).enumerate() {
            if list == "containers" || is_sidecar(old) {
                kept(
                    errors,
                    &at.index(i).child("resources"),
                    read::of(new, "resources"),
                    read::of(old, "resources"),
                );
            }
        }
    }
    let mut munged = after.clone();
    unchanged_otherwise(errors, &path, &mut munged, before);
    if errors.is_empty() && munged != *before {
        errors.push(FieldError::forbidden(&path, ONLY_AMOUNTS));
    }
}

fn is_sidecar(container: &Value) -> bool {
    read::text(container, "restartPolicy") == "Always"
}

/// Containers are known by their place: none comes, goes or moves.
fn same_names(errors: &mut ErrorList, path: &Path<'_>, list: &str, after: &Value, before: &Value) -> bool {
    let at = path.child(list);
    let (new, old) = (read::list(after, list), read::list(before, list));
    if new.len() != old.len() {
        errors.push(FieldError::forbidden(&at, format!("{list} may not be added or removed on resize")));
        return false;
    }
    let mut same = true;
    for (i, (new, old)) in new.iter().zip(old).enumerate() {
        if read::text(new, "name") != read::text(old, "name") {
            same = false;
            let detail = format!("{list} may not be renamed or reordered on resize");
            errors.push(FieldError::forbidden(&at.index(i).child("name"), detail));
        }
    }
    same
}

/// What is given cannot be taken away altogether.
fn kept(errors: &mut ErrorList, path: &Path<'_>, has: &Value, had: &Value) {
    for list in lost(has, had) {
        errors.push(FieldError::forbidden(&path.child(list), format!("resource {list} cannot be removed")));
    }
}

/// The lists of which something is no more.
fn lost<'a>(has: &'a Value, had: &'a Value) -> impl Iterator<Item = &'static str> + use<'a> {
    ["requests", "limits"].into_iter().filter(move |list| {
        let is_lost = |name: &str| read::map(has, list).is_none_or(|now| !now.contains_key(name));
        read::entries(had, list).any(|(name, _)| is_lost(name))
    })
}

/// What the pod has as a whole: it can be given, and changed, but not taken away.
fn whole_kept(errors: &mut ErrorList, spec: &Path<'_>, after: &Value, before: &Value) {
    let (has, had) = (read::of(after, "resources"), read::of(before, "resources"));
    let path = spec.child("resources");
    if read::raw(before, "resources").is_some() && read::raw(after, "resources").is_none() {
        errors.push(FieldError::forbidden(&path, "pod-level resources cannot be removed"));
        return;
    }
    for list in lost(has, had) {
        let detail = format!("pod-level resource {list} cannot be removed");
        errors.push(FieldError::forbidden(&path.child(list), detail));
    }
    let mut munged = after.clone();
    keep_processor_and_memory(&mut munged, before);
    let is_empty =
        |of: &Value| ["requests", "limits"].iter().all(|list| read::entries(of, list).next().is_none());
    let kept = read::of(&munged, "resources");
    if kept != had && !(is_empty(kept) && is_empty(had)) {
        errors.push(FieldError::forbidden(spec, ONLY_AMOUNTS_OF_POD));
    }
}

/// Gives the pod and its containers the processor time and memory that they had: what is different then must not be.
fn unchanged_otherwise(errors: &mut ErrorList, path: &Path<'_>, munged: &mut Value, before: &Value) {
    keep_processor_and_memory(munged, before);
    for list in ["containers", "initContainers"] {
        let at = path.child(list);
        let Some(containers) = munged.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for (i, (has, had)) in containers.iter_mut().zip(read::list(before, list)).enumerate() {
            if list == "containers" || is_sidecar(had) {
                keep_processor_and_memory(has, had);
                if has != had && list == "containers" {
                    errors.push(FieldError::forbidden(path, ONLY_AMOUNTS));
                } else if has != had {
                    let detail = "only cpu and memory resources for init or sidecar containers are mutable";
                    errors.push(FieldError::forbidden(&at.index(i), detail));
                }
            } else if has != had {
                let detail = "resources for non-sidecar init containers are immutable";
                errors.push(FieldError::forbidden(path, detail));
            }
        }
    }
}

/// In the `resources` of a container, or of the pod's specification.
fn keep_processor_and_memory(owner: &mut Value, had: &Value) {
    let Some(fields) = owner.as_object_mut() else { return };
    let mut resources = fields.remove("resources").and_then(|r| r.as_object().cloned()).unwrap_or_default();
    let before = read::of(had, "resources");
    for list in ["limits", "requests"] {
        let mut amounts: Map<String, Value> =
            resources.remove(list).and_then(|amounts| amounts.as_object().cloned()).unwrap_or_default();
        for name in ["cpu", "memory"] {
            match read::map(before, list).and_then(|amounts| amounts.get(name)) {
                Some(amount) => amounts.insert(name.to_owned(), amount.clone()),
                None => amounts.remove(name),
            };
        }
        // An empty list is none, as upstream compares.
        if !amounts.is_empty() || read::raw(before, list).is_some() {
            resources.insert(list.to_owned(), amounts.into());
        }
    }
    if !resources.is_empty() || read::raw(had, "resources").is_some() {
        fields.insert("resources".to_owned(), resources.into());
    }
}
