//! Roles and bindings.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn role(object: &Object) -> ErrorList {
    rules(object, true)
}

pub(crate) fn cluster_role(object: &Object) -> ErrorList {
    let mut errors = rules(object, false);
    let path = Path::root("aggregationRule");
    let at = path.child("clusterRoleSelectors");
    let rule = read::top(object, "aggregationRule");
    if rule.is_object() {
        let selectors = read::list(rule, "clusterRoleSelectors");
        if selectors.is_empty() {
            let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required(&at, detail));
        }
        for (i, selector) in selectors.iter().enumerate() {
            super::selector::label_selector(&mut errors, &at.index(i), Some(selector));
        }
    }
    errors
}

fn rules(object: &Object, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("rules");
    let list = read::top(object, "rules").as_array();
    for (i, rule) in list.into_iter().flatten().enumerate() {
        let at = path.index(i);
        let has = |key: &str| !read::list(rule, key).is_empty();
        if !has("verbs") {
            let detail = "verbs must contain at least one value";
            errors.push(FieldError::required(&at.child("verbs"), detail));
        }
        if has("nonResourceURLs") {
            let value = read::raw(rule, "nonResourceURLs").cloned().unwrap_or(Value::Null);
            let url_path = at.child("nonResourceURLs");
            if namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(&url_path, value.clone(), detail));
            }
            if has("apiGroups") || has("resources") || has("resourceNames") {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(&url_path, value, detail));
            }
            continue;
        }
        if !has("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(&at.child("apiGroups"), detail));
        }
        if !has("resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(&at.child("resources"), detail));
        }
    }
    errors
}

pub(crate) fn role_binding(object: &Object) -> ErrorList {
    binding(object, true)
}

pub(crate) fn cluster_role_binding(object: &Object) -> ErrorList {
    binding(object, false)
}

fn binding(object: &Object, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("roleRef");
    let role = read::top(object, "roleRef");
    let group = read::text(role, "apiGroup");
    if group != GROUP {
        errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[GROUP]));
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let kind = read::text(role, "kind");
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(&path.child("kind"), kind, kinds));
    }
    let name = read::text(role, "name");
    if check::required(&mut errors, &path.child("name"), name) {
        check::faults(&mut errors, &path.child("name"), name, names::path_segment_name(name, false));
    }
    let subjects = Path::root("subjects");
    let list = read::top(object, "subjects").as_array();
    for (i, found) in list.into_iter().flatten().enumerate() {
        subject(&mut errors, &subjects.index(i), found, namespaced);
    }
    errors
}

fn subject(errors: &mut ErrorList, path: &Path<'_>, subject: &Value, namespaced: bool) {
    let [kind, name, group] = ["kind", "name", "apiGroup"].map(|k| read::text(subject, k));
    check::required(errors, &path.child("name"), name);
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                check::faults(errors, &path.child("name"), name, names::dns1123_subdomain(name));
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !namespaced {
                check::required(errors, &path.child("namespace"), read::text(subject, "namespace"));
            }
        }
        "User" | "Group" => {
            if name.is_empty() {
                let detail = format!("{} name cannot be empty", kind.to_lowercase());
                errors.push(FieldError::invalid(&path.child("name"), name, detail));
            }
            if group != GROUP {
                errors.push(FieldError::not_supported(&path.child("apiGroup"), group, &[GROUP]));
            }
        }
        other => {
            let supported = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(&path.child("kind"), other, &supported));
        }
    }
}
