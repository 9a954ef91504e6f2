//! The fields of a pod that may change once it exists: images, deadline, tolerations, gates; little else.

use std::borrow::Cow;

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::{Map, Value};

use super::{diff, metadata_and_spec, mirror, spec};
use crate::qos::qos_class;
use crate::validation::{check, read};

/// The fields upstream's refusal names, in its words.
const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A plain update of a pod.
pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = metadata_and_spec(new);
    mirror::changed(&mut errors, new, old);
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

/// Ephemeral containers added, or the resources of containers changed.
pub(crate) fn part_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = metadata_and_spec(new);
    mirror::changed(&mut errors, new, old);
    mirror::part_changed(&mut errors, new, old);
    let path = Path::root("spec");
    let class = qos_class(new);
    if class != qos_class(old) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&path, class, detail));
    }
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    let mut munged = after.clone();
    for list in ["containers", "initContainers"] {
        let at = path.child(list);
        let (new, old) = (read::list(after, list), read::list(before, list));
        if !same_names(&mut errors, &at, list, new, old) {
            return errors;
        }
        for (i, container) in old.iter().enumerate() {
            let had = &container["resources"];
            let Some(has) = munged.get_mut(list).and_then(|all| all.get_mut(i)) else { continue };
            let container_at = at.index(i);
            let at = container_at.child("resources");
            if list == "initContainers" && read::text(container, "restartPolicy") != "Always" {
                if has["resources"] != *had {
                    let detail = "resources for non-sidecar init containers are immutable";
                    errors.push(FieldError::forbidden(&at, detail));
                }
                continue;
            }
            resized(&mut errors, &at, &has["resources"], had);
            keep_processor_and_memory(has, had);
        }
    }
    if resources_of(&munged) != resources_of(before) || rest(&munged) != rest(before) {
        let detail =
            format!("only cpu and memory resources are mutable\n{}", diff::pod_spec(before, &munged));
        errors.push(FieldError::forbidden(&path, detail));
    }
    errors
}

/// Containers are known by their place: none comes, goes or moves.
fn same_names(errors: &mut ErrorList, at: &Path<'_>, list: &str, new: &[Value], old: &[Value]) -> bool {
    if new.len() != old.len() {
        errors.push(FieldError::forbidden(at, format!("{list} may not be added or removed on resize")));
        return false;
    }
    let moved = new.iter().zip(old).enumerate().filter(|(_, (new, old))| new["name"] != old["name"]);
    let before = errors.len();
    for (i, _) in moved {
        let detail = format!("{list} may not be renamed or reordered on resize");
        errors.push(FieldError::forbidden(&at.index(i).child("name"), detail));
    }
    errors.len() == before
}

/// The containers without the amounts that they ask for.
fn rest(spec: &Value) -> Vec<Value> {
    let containers = ["containers", "initContainers"].into_iter().flat_map(|list| read::list(spec, list));
    let without = containers.cloned().map(|mut container| {
        let resources = container.get_mut("resources").and_then(Value::as_object_mut);
        let is_empty = resources.is_some_and(|resources| {
            resources.remove("limits");
            resources.remove("requests");
            resources.is_empty()
        });
        if let Some(fields) = container.as_object_mut().filter(|_| is_empty) {
            fields.remove("resources");
        }
        container
    });
    without.collect()
}

/// What is given cannot be taken away altogether.
fn resized(errors: &mut ErrorList, path: &Path<'_>, has: &Value, had: &Value) {
    let lists = [
        ("limits", "resource limits cannot be removed"),
        ("requests", "resource requests cannot be removed"),
    ];
    for (list, detail) in lists {
        let is_lost = |name: &str| had[list].get(name).is_some() && has[list].get(name).is_none();
        if ["cpu", "memory"].into_iter().any(is_lost) {
            errors.push(FieldError::forbidden(&path.child(list), detail));
        }
    }
}

/// Gives a container the processor time and memory that it had, so that what is left are other changes.
fn keep_processor_and_memory(container: &mut Value, had: &Value) {
    for list in ["limits", "requests"] {
        for name in ["cpu", "memory"] {
            match had[list].get(name) {
                Some(amount) => container["resources"][list][name] = amount.clone(),
                None => {
                    if let Some(map) = container["resources"][list].as_object_mut() {
                        map.remove(name);
                    }
                }
            }
        }
    }
}

/// The amounts of all containers, without empty lists.
fn resources_of(spec: &Value) -> Vec<Vec<(&String, &Value)>> {
    let containers = ["containers", "initContainers"].into_iter().flat_map(|list| read::list(spec, list));
    let lists =
        containers.flat_map(|container| ["limits", "requests"].map(|list| &container["resources"][list]));
    lists.map(|list| list.as_object().into_iter().flatten().collect()).collect()
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
    if node(munged) != node(before) && node(before).is_none() {
        // Added where there was none: the rest of the affinity must be as it was.
        if let Some(affinity) = munged.get_mut("affinity").and_then(Value::as_object_mut) {
            affinity.remove("nodeAffinity");
            if affinity.is_empty() {
                restore(munged, before, "affinity");
            }
        }
    }
}
