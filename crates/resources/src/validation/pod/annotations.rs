//! Annotations that mean something to whoever runs pods: how dear a pod is, and security profiles as they were asked
//! for before there were fields for them.

use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::each::each;
use crate::validation::{check, read};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Checks annotations of a pod or template at `path`; `before` is the metadata that a pod had until now.
pub(super) fn specific(
    errors: &mut ErrorList,
    path: &Path<'_>,
    metadata: &Value,
    spec: &Value,
    before: Option<&Value>,
) {
    let had_unsound = before.is_some_and(|m| {
        read::pairs(m, "annotations").any(|(key, value)| key == DELETION_COST && !is_cost(value))
    });
    let cost = read::pairs(metadata, "annotations").find(|(key, _)| *key == DELETION_COST);
    if let Some((key, value)) = cost.filter(|(_, value)| !is_cost(value) && !had_unsound) {
        errors.push(FieldError::invalid(&path.key(key), value, "must be a 32bit integer"));
    }
    for (key, value) in read::pairs(metadata, "annotations") {
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp_profile(errors, &path.child(key), value);
        }
    }
    for (key, value) in read::pairs(metadata, "annotations") {
        let Some(container) = key.strip_prefix(APPARMOR_CONTAINER) else { continue };
        let mut is_known = false;
        each(&Path::root("spec"), spec, &mut |_, other| is_known |= read::text(other, "name") == container);
        if !is_known {
            errors.push(FieldError::invalid(&path.key(key), container, "container not found"));
        }
        if !matches!(value, "" | "runtime/default" | "unconfined") && !value.starts_with("localhost/") {
            let detail = format!("invalid AppArmor profile name: {value:?}");
            errors.push(FieldError::invalid(&path.key(key), value, detail));
        }
    }
}

/// A number of 32 bits without a plus sign or zeros in front.
fn is_cost(text: &str) -> bool {
    let starts_well = text == "0" || text.starts_with(['-', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    starts_well && text.parse::<i32>().is_ok()
}

fn seccomp_profile(errors: &mut ErrorList, path: &Path<'_>, profile: &str) {
    match (profile, profile.strip_prefix("localhost/")) {
        ("runtime/default" | "docker/default" | "unconfined", _) => {}
        (_, Some(file)) => check::descending_path(errors, path, file),
        _ => errors.push(FieldError::invalid(path, profile, "must be a valid seccomp profile")),
    }
}

/// Profiles for AppArmor stay as the pod was made with.
pub(super) fn changed(errors: &mut ErrorList, path: &Path<'_>, new: &Value, old: &Value) {
    let of = |metadata: &'_ Value, key: &str| {
        read::pairs(metadata, "annotations").find(|(k, _)| *k == key).map(|(_, value)| value.to_owned())
    };
    let profiles = |metadata: &'_ Value| -> Vec<String> {
        let keys = read::pairs(metadata, "annotations").map(|(key, _)| key);
        keys.filter(|key| key.starts_with(APPARMOR_CONTAINER)).map(str::to_owned).collect()
    };
    for key in profiles(old) {
        if of(new, &key) != of(old, &key) {
            let detail = "may not remove or update AppArmor annotations";
            errors.push(FieldError::forbidden(&path.key(&key), detail));
        }
    }
    for key in profiles(new).into_iter().filter(|key| of(old, key).is_none()) {
        errors.push(FieldError::forbidden(&path.key(&key), "may not add AppArmor annotations"));
    }
}

/// Where a profile is asked for both ways, both say the same; `path` is the specification's.
pub(super) fn seccomp_agrees(errors: &mut ErrorList, path: &Path<'_>, metadata: &Value, spec: &Value) {
    let annotation = |key: &str| {
        read::pairs(metadata, "annotations").find(|(k, _)| *k == key).map(|(_, value)| value.to_owned())
    };
    let mut judge = |path: &Path<'_>, owner: &Value, key: &str| {
        let Some(field) = profile(owner, "seccompProfile") else { return };
        let Some(said) = annotation(key) else { return };
        let at = path.child("securityContext");
        let default = matches!(said.as_str(), "runtime/default" | "docker/default");
        agrees(errors, &at.child("seccompProfile"), field, &said, default, "seccomp");
    };
    judge(path, spec, SECCOMP_POD);
    each(path, spec, &mut |at, container| {
        judge(at, container, &format!("{SECCOMP_CONTAINER}{}", read::text(container, "name")));
    });
}

/// The same of AppArmor, whose profile a container may have from its pod.
pub(super) fn apparmor_agrees(errors: &mut ErrorList, path: &Path<'_>, metadata: &Value, spec: &Value) {
    if read::get(spec, "os").is_some_and(|os| read::text(os, "name") == "windows") {
        return;
    }
    let of_pod = profile(spec, "appArmorProfile");
    each(path, spec, &mut |at, container| {
        let Some(field) = profile(container, "appArmorProfile").or(of_pod) else { return };
        let key = format!("{APPARMOR_CONTAINER}{}", read::text(container, "name"));
        let Some((_, said)) = read::pairs(metadata, "annotations").find(|(k, _)| *k == key) else { return };
        let at = at.child("securityContext");
        agrees(errors, &at.child("appArmorProfile"), field, said, said == "runtime/default", "apparmor");
    });
}

fn profile<'v>(owner: &'v Value, key: &str) -> Option<&'v Value> {
    read::get(read::get(owner, "securityContext")?, key)
}

fn agrees(errors: &mut ErrorList, path: &Path<'_>, field: &Value, said: &str, is_default: bool, noun: &str) {
    let file = read::get(field, "localhostProfile").and_then(Value::as_str);
    let same_type = match read::text(field, "type") {
        "Unconfined" => said == "unconfined",
        "RuntimeDefault" => is_default,
        "Localhost" => match said.strip_prefix("localhost/") {
            None => false,
            Some(name) if file == Some(name) => true,
            Some(_) => {
                let detail = format!("{noun} profile in annotation and field must match");
                errors.push(FieldError::forbidden(&path.child("localhostProfile"), detail));
                true
            }
        },
        _ => true,
    };
    if !same_type {
        let detail = format!("{noun} type in annotation and field must match");
        errors.push(FieldError::forbidden(&path.child("type"), detail));
    }
}
