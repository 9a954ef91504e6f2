//! The fields of a pod that may change once it exists: images, deadline, tolerations, gates; little else.

use std::borrow::Cow;

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::{Map, Value, json};

use super::{annotations, diff, metadata_and_spec, mirror, spec};
use crate::validation::{check, read};

/// The fields upstream's refusal names, in its words.
const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Annotations that a pod has from the beginning.
pub(super) fn changed_annotations(errors: &mut ErrorList, new: &Object, old: &Object) {
    let metadata = Path::root("metadata");
    let [after, before] = [new, old].map(|pod| read::top(pod, "metadata"));
    annotations::changed(errors, &metadata.child("annotations"), after, before);
    mirror::changed(errors, new, old);
}

/// A plain update of a pod.
pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = metadata_and_spec(new, Some(old));
    changed_annotations(&mut errors, new, old);
    let path = Path::root("spec");
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    for list in ["containers", "initContainers"] {
        if read::list(after, list).len() != read::list(before, list).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(&path.child(list), detail));
            return errors;
        }
        let at = path.child(list);
        for (i, container) in read::list(after, list).iter().enumerate() {
            let image = at.index(i);
            check::required(&mut errors, &image.child("image"), read::text(container, "image"));
        }
    }
    if !deadline(&mut errors, &path.child("activeDeadlineSeconds"), after, before) {
        return errors;
    }
    tolerations(&mut errors, &path.child("tolerations"), after, before);
    gates(&mut errors, &path.child("schedulingGates"), after, before);
    if after == before {
        return errors;
    }
    let mut munged = with_old_updatables(after, before);
    if !read::list(before, "schedulingGates").is_empty() {
        gated(&mut errors, &path, &mut munged, before);
    }
    if munged != *before {
        let detail = format!(
            "pod updates may not change fields other than {UPDATABLE}\n{}",
            diff::pod_spec(before, &munged)
        );
        errors.push(FieldError::forbidden(&path, detail));
    }
    errors
}

/// Whether the rest should be looked at.
fn deadline(errors: &mut ErrorList, path: &Path<'_>, after: &Value, before: &Value) -> bool {
    let key = "activeDeadlineSeconds";
    match (read::int(after, key), read::int(before, key)) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            let detail = names::range_message(0, i64::from(i32::MAX));
            errors.push(FieldError::invalid(path, new, detail));
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.push(FieldError::invalid(path, new, "must be less than or equal to previous value"));
            false
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(path, Value::Null, detail));
            true
        }
        _ => true,
    }
}

fn without<'a>(value: &'a Value, key: &str) -> Cow<'a, Value> {
    match value {
        Value::Object(map) if map.contains_key(key) => {
            let kept = map.iter().filter(|(k, _)| *k != key).map(|(k, v)| (k.clone(), v.clone()));
            Cow::Owned(Value::Object(kept.collect::<Map<_, _>>()))
        }
        other => Cow::Borrowed(other),
    }
}

fn tolerations(errors: &mut ErrorList, path: &Path<'_>, after: &Value, before: &Value) {
    let bare = |list: &[Value]| -> HashSet<String> {
        list.iter().map(|t| without(t, "tolerationSeconds").to_string()).collect()
    };
    let (new, old) = (read::list(after, "tolerations"), read::list(before, "tolerations"));
    if new == old {
        return;
    }
    let present = bare(new);
    if bare(old).iter().any(|t| !present.contains(t)) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(path, detail));
        return;
    }
    spec::tolerations(errors, path, after);
}

fn gates(errors: &mut ErrorList, path: &Path<'_>, after: &Value, before: &Value) {
    let old: HashSet<&str> =
        read::list(before, "schedulingGates").iter().map(|g| read::text(g, "name")).collect();
    for (i, gate) in read::list(after, "schedulingGates").iter().enumerate() {
        let name = read::text(gate, "name");
        if !old.contains(&name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(&path.index(i).child("name"), detail));
        }
    }
}

/// The new spec with the old one's values in all fields that may change.
fn with_old_updatables(after: &Value, before: &Value) -> Value {
    let mut munged = after.clone();
    let Some(fields) = munged.as_object_mut() else { return munged };
    for list in ["containers", "initContainers"] {
        let Some(containers) = fields.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for (container, old) in containers.iter_mut().zip(read::list(before, list)) {
            restore(container, old, "image");
        }
    }
    for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        match read::raw(before, key) {
            Some(old) => fields.insert(key.to_owned(), old.clone()),
            None => fields.remove(key),
        };
    }
    let grace = "terminationGracePeriodSeconds";
    if read::int(before, grace).is_some_and(|g| g < 0) && read::int(after, grace) == Some(1) {
        restore(&mut munged, before, grace);
    }
    munged
}

fn restore(value: &mut Value, old: &Value, key: &str) {
    let Some(fields) = value.as_object_mut() else { return };
    match old.get(key) {
        Some(old) => fields.insert(key.to_owned(), old.clone()),
        None => fields.remove(key),
    };
}

/// A pod that is not scheduled yet may still narrow where it can run.
fn gated(errors: &mut ErrorList, path: &Path<'_>, munged: &mut Value, before: &Value) {
    let kept = read::pairs(before, "nodeSelector").all(|(key, value)| {
        read::map(munged, "nodeSelector").and_then(|s| s.get(key)).and_then(Value::as_str) == Some(value)
    });
    if !kept {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        let value = read::raw(munged, "nodeSelector").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&path.child("nodeSelector"), value, detail));
    }
    restore(munged, before, "nodeSelector");
    let node = |spec: &Value| read::raw(spec, "affinity").and_then(|a| read::raw(a, "nodeAffinity")).cloned();
    let (after, had) = (node(munged), node(before));
    if after == had {
        return;
    }
    let at = path.child("affinity");
    narrowed(errors, &at.child("nodeAffinity"), after.as_ref(), had.as_ref());
    if let Some(had) = had {
        match munged.get_mut("affinity").and_then(Value::as_object_mut) {
            Some(affinity) => drop(affinity.insert("nodeAffinity".to_owned(), had)),
            None => munged["affinity"] = json!({ "nodeAffinity": had }),
        }
        return;
    }
    // Added where there was none: the rest of the affinity must be as it was.
    let affinity = munged.get_mut("affinity").and_then(Value::as_object_mut);
    let is_bare = affinity.is_some_and(|affinity| {
        affinity.remove("nodeAffinity");
        affinity.is_empty()
    });
    if is_bare {
        restore(munged, before, "affinity");
    }
}

/// The terms that nodes must match stay, and each only gets more requirements.
fn narrowed(errors: &mut ErrorList, path: &Path<'_>, after: Option<&Value>, before: Option<&Value>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = |affinity: Option<&'_ Value>| -> Option<Vec<Value>> {
        let required = read::get(affinity?, REQUIRED)?;
        Some(read::list(required, "nodeSelectorTerms").to_vec())
    };
    let Some(before) = terms(before).filter(|terms| !terms.is_empty()) else { return };
    let after = terms(after).unwrap_or_default();
    let at = path.child(REQUIRED);
    let at = at.child("nodeSelectorTerms");
    if after.len() != before.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(&at, after, detail));
        return;
    }
    for (i, (new, old)) in after.iter().zip(&before).enumerate() {
        let lists =
            ["matchExpressions", "matchFields"].map(|key| (read::list(new, key), read::list(old, key)));
        let selects_nothing = lists.iter().all(|(_, old)| old.is_empty());
        let is_kept = if selects_nothing {
            lists.iter().all(|(new, _)| new.is_empty())
        } else {
            lists.iter().all(|(new, old)| new.starts_with(old))
        };
        if !is_kept {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid(&at.index(i), new.clone(), detail));
        }
    }
}
