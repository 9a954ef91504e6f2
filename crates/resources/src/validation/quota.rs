//! Quotas: what they bound, and of which objects. Facts: upstream's `validateResourceQuotaScopes` and
//! `validateScopedResourceSelectorRequirement` (`pkg/apis/core/validation`).

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::{amounts, check, read};

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
/// Scopes of which no object is in both.
const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
const COMPUTE: [&str; 6] =
    ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const NOT_FOR_RESOURCE: &str = "unsupported scope applied to resource";

pub(crate) fn resource_quota(object: &Object) -> ErrorList {
    let mut errors = spec(object);
    errors.extend(status(object));
    errors
}

/// Scopes stay.
pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = spec(new);
    let scopes = |object| read::texts(read::top(object, "spec"), "scopes").collect::<HashSet<&str>>();
    if scopes(new) != scopes(old) {
        let path = Path::root("spec");
        let value = read::raw(read::top(new, "spec"), "scopes").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&path.child("scopes"), value, check::IMMUTABLE));
    }
    errors
}

pub(crate) fn status_update(new: &Object, _old: &Object) -> ErrorList {
    status(new)
}

fn bounds(errors: &mut ErrorList, path: &Path<'_>, part: &Value, key: &str) {
    let at = path.child(key);
    for (name, value) in read::entries(part, key) {
        amounts::quota(errors, &at.key(name), name, value);
    }
}

fn status(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    for key in ["hard", "used"] {
        bounds(&mut errors, &Path::root("status"), read::top(object, "status"), key);
    }
    errors
}

fn spec(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    bounds(&mut errors, &path, spec, "hard");
    let mut hard: Vec<&str> = read::entries(spec, "hard").map(|(name, _)| name).collect();
    hard.sort_unstable();
    scopes(&mut errors, &path.child("scopes"), spec, &hard);
    if let Some(selector) = read::get(spec, "scopeSelector") {
        scope_selector(&mut errors, &path.child("scopeSelector"), spec, selector, &hard);
    }
    errors
}

/// Whether one of the names speaks of objects that the scope says nothing about.
fn is_out_of_scope(scope: &str, hard: &[&str]) -> bool {
    let fits = |name: &str| match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        scope if SCOPES.contains(&scope) => name == "pods" || COMPUTE.contains(&name),
        _ => true,
    };
    hard.iter().any(|name| amounts::is_standard_of_quota(name) && !fits(name))
}

fn scopes(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, hard: &[&str]) {
    let value = || read::raw(spec, "scopes").cloned().unwrap_or(Value::Null);
    let seen: HashSet<&str> = read::texts(spec, "scopes").collect();
    // Each error shows all scopes: once is enough.
    if seen.iter().any(|scope| !SCOPES.contains(scope)) {
        errors.push(FieldError::invalid(path, value(), "unsupported scope"));
    }
    if seen.iter().any(|scope| is_out_of_scope(scope, hard)) {
        errors.push(FieldError::invalid(path, value(), NOT_FOR_RESOURCE));
    }
    conflicts(errors, path, &seen, value);
}

fn conflicts(errors: &mut ErrorList, path: &Path<'_>, seen: &HashSet<&str>, value: impl Fn() -> Value) {
    for pair in OPPOSITES {
        if pair.iter().all(|scope| seen.contains(scope)) {
            errors.push(FieldError::invalid(path, value(), "conflicting scopes"));
        }
    }
}

fn scope_selector(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, selector: &Value, hard: &[&str]) {
    // As upstream: the errors do not say which expression it is.
    let path = path.child("matchExpressions");
    let mut seen = HashSet::new();
    for expression in read::list(selector, "matchExpressions") {
        let scope = read::text(expression, "scopeName");
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(&path.child("scopeName"), scope, "unsupported scope"));
        }
        seen.insert(scope);
        operator(errors, &path, expression, scope);
    }
    if seen.iter().any(|scope| is_out_of_scope(scope, hard)) {
        errors.push(FieldError::invalid(&path, selector.clone(), NOT_FOR_RESOURCE));
    }
    let value = || read::raw(spec, "scopes").cloned().unwrap_or(Value::Null);
    conflicts(errors, &path, &seen, value);
}

fn operator(errors: &mut ErrorList, path: &Path<'_>, expression: &Value, scope: &str) {
    let operator = read::text(expression, "operator");
    let selects_by_value = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&scope) && !selects_by_value && operator != "Exists" {
        let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(FieldError::invalid(&path.child("operator"), operator, detail));
    }
    let values = read::list(expression, "values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(FieldError::required(&path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(FieldError::invalid(&path.child("values"), values.to_vec(), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            errors.push(FieldError::invalid(&path.child("operator"), other, "not a valid selector operator"));
        }
    }
}
