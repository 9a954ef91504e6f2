//! Which changes of a Job's pod template are taken: while it is suspended, has no pods and its time does not run, where
//! its pods may be scheduled and what their containers are given (KEP 2926, KEP 5440).

use api::Object;
use api::field::{ErrorList, Path};
use serde_json::Value;

use super::super::{check, read};

/// What may change of the template's pod.
const DIRECTIVES: [&str; 3] = ["nodeSelector", "tolerations", "schedulingGates"];

pub(super) fn update(errors: &mut ErrorList, path: &Path<'_>, new: &Object, old: &Object) {
    let template = |job: &'_ Object| read::of(read::top(job, "spec"), "template").clone();
    let (after, mut before) = (template(new), template(old));
    if is_open(old) {
        take_over(&mut before, &after);
    }
    check::unchanged(errors, path, Some(&after), Some(&before));
}

fn is_open(job: &Object) -> bool {
    let status = read::top(job, "status");
    let suspended = read::list(status, "conditions").iter().any(|condition| {
        read::text(condition, "type") == "Suspended" && read::text(condition, "status") == "True"
    });
    read::flag(read::top(job, "spec"), "suspend")
        && read::int(status, "active").unwrap_or(0) == 0
        && (read::get(status, "startTime").is_none() || suspended)
}

/// Makes equal what may differ.
fn take_over(before: &mut Value, after: &Value) {
    for key in ["labels", "annotations"] {
        take(before, after, &["metadata"], key);
    }
    for key in DIRECTIVES {
        take(before, after, &["spec"], key);
    }
    take(before, after, &["spec", "affinity"], "nodeAffinity");
    // An affinity without terms is none.
    let is_bare = |affinity: &Value| affinity.as_object().is_some_and(serde_json::Map::is_empty);
    if read::at(before, &["spec", "affinity"]).is_some_and(is_bare)
        && read::at(after, &["spec", "affinity"]).is_none_or(Value::is_null)
        && let Some(spec) = before.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("affinity");
    }
    for list in ["containers", "initContainers"] {
        let new = read::at(after, &["spec"]).map(|spec| read::list(spec, list)).unwrap_or(&[]);
        let old = before.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for (old, new) in old.into_iter().flatten().zip(new) {
            take(old, new, &[], "resources");
        }
    }
}

/// Gives `before` the field that `after` has, or has not.
fn take(before: &mut Value, after: &Value, path: &[&str], key: &str) {
    let value = path.iter().try_fold(after, |value, step| value.get(*step)).and_then(|value| value.get(key));
    let value = value.filter(|value| !value.is_null()).cloned();
    let mut place = before;
    for step in path {
        let Some(parent) = place.as_object_mut() else { return };
        if value.is_none() && !parent.contains_key(*step) {
            return;
        }
        let child = parent.entry(*step).or_insert(Value::Null);
        if child.is_null() {
            *child = Value::Object(serde_json::Map::new());
        }
        place = child;
    }
    let Some(parent) = place.as_object_mut() else { return };
    match value {
        Some(value) => drop(parent.insert(key.to_owned(), value)),
        None => drop(parent.remove(key)),
    }
}
