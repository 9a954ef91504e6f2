//! The rules that say what a webhook or policy is asked about.

use std::collections::BTreeSet;

use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use crate::validation::{check, read};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

/// A rule: operations, groups, versions, resources, scope.
pub(in crate::validation) fn with_operations(errors: &mut ErrorList, path: &Path<'_>, rule: &Value) {
    let at = path.child("operations");
    let operations = texts(rule, "operations");
    list(errors, &at, &operations, "operations");
    for (i, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(operation) {
            errors.push(FieldError::not_supported(&at.index(i), *operation, &OPERATIONS));
        }
    }
    list(errors, &path.child("apiGroups"), &texts(rule, "apiGroups"), "API groups");
    let (at, versions) = (path.child("apiVersions"), texts(rule, "apiVersions"));
    list(errors, &at, &versions, "API versions");
    for (i, version) in versions.iter().enumerate() {
        check::required(errors, &at.index(i), version);
    }
    resources(errors, &path.child("resources"), &texts(rule, "resources"));
    check::if_given_one_of(errors, &path.child("scope"), read::text(rule, "scope"), &SCOPES);
}

fn texts<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
    read::texts(rule, key).collect()
}

/// A list that names at least one, or all and nothing else.
fn list(errors: &mut ErrorList, path: &Path<'_>, names: &[&str], what: &str) {
    if names.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if names.len() > 1 && names.contains(&"*") {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(path, names.to_vec(), detail));
    }
}

fn resources(errors: &mut ErrorList, path: &Path<'_>, names: &[&str]) {
    if names.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let (mut all_parts_of, mut part_of_all) = (BTreeSet::new(), BTreeSet::new());
    let mut plain = false;
    for (i, name) in names.iter().enumerate() {
        if !check::required(errors, &path.index(i), name) {
            continue;
        }
        let Some((resource, part)) = name.split_once('/') else {
            // As upstream: the last plain name decides.
            plain = *name != "*";
            continue;
        };
        if all_parts_of.contains(resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {name}");
            errors.push(FieldError::invalid(&path.index(i), *name, detail));
        }
        if part_of_all.contains(part) {
            let detail = format!("if '*/{part}' is present, must not specify {name}");
            errors.push(FieldError::invalid(&path.index(i), *name, detail));
        }
        if part == "*" {
            all_parts_of.insert(resource);
        }
        if resource == "*" {
            part_of_all.insert(part);
        }
    }
    if names.len() > 1 && names.contains(&"*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, names.to_vec(), detail));
    }
    if names.contains(&"*") && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, names.to_vec(), detail));
    }
}
