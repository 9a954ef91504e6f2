//! Definitions of custom resources. Source: upstream's
//! `apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go`.
//!
//! `schema` judges the schemas of versions.

mod schema;
mod version;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

const APPROVED: &str = "api-approved.kubernetes.io";
/// The groups that belong to the project itself.
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];

fn of<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    of(value, key).as_str().unwrap_or("")
}

fn flag(value: &Value, key: &str) -> bool {
    of(value, key).as_bool().unwrap_or(false)
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    of(value, key).as_array().map_or(&[], Vec::as_slice)
}

/// Everything wrong with a definition.
pub(crate) fn definition(object: &Object) -> ErrorList {
    judged(object, &Value::Null)
}

/// Everything wrong with a definition whose specification was another one before.
fn judged(object: &Object, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = read::top(object, "spec");
    let metadata = Path::root("metadata");
    let name = format!("{}.{}", text(of(spec, "names"), "plural"), text(spec, "group"));
    if object.name() != name {
        let detail = r#"must be spec.names.plural+"."+spec.group"#;
        errors.push(FieldError::invalid(&metadata.child("name"), object.name(), detail));
    }
    let at = Path::root("spec");
    self::spec(&mut errors, &at, spec, old);
    approval(&mut errors, object, text(spec, "group"));
    errors.extend(status(object));
    errors
}

/// Everything wrong with a change of a definition.
pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = judged(new, read::top(old, "spec"));
    let same = |errors: &mut ErrorList, path: &[&str]| {
        let (now, before) = (new.at(path), old.at(path));
        let root = Path::root("spec");
        match path {
            [_, one] => check::unchanged(errors, &root.child(one), now, before),
            [_, one, two] => check::unchanged(errors, &root.child(one).child(two), now, before),
            _ => {}
        }
    };
    if crate::custom::condition_is_true(old, "Established") {
        // What is stored is found by these.
        same(&mut errors, &["spec", "scope"]);
        same(&mut errors, &["spec", "names", "kind"]);
    }
    same(&mut errors, &["spec", "group"]);
    same(&mut errors, &["spec", "names", "plural"]);
    let known = of(read::top(new, "spec"), "versions").as_array();
    let stored = of(read::top(new, "status"), "storedVersions").as_array();
    let (status, at) = (Path::root("status"), "storedVersions");
    for (i, version) in stored.into_iter().flatten().enumerate() {
        if !known.into_iter().flatten().any(|known| of(known, "name") == version) {
            errors.push(FieldError::invalid(
                &status.child(at).index(i),
                version.clone(),
                "must appear in spec.versions",
            ));
        }
    }
    errors
}

/// Everything wrong with a definition's status.
pub(crate) fn status(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let status = Path::root("status");
    let accepted = of(read::top(object, "status"), "acceptedNames");
    if !accepted.is_null() {
        names_of(&mut errors, &status.child("acceptedNames"), accepted);
    }
    errors
}

fn spec(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, old: &Value) {
    let group = text(spec, "group");
    let at = path.child("group");
    if group.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        let faults = names::dns1123_subdomain(group);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&at, group, faults.join(",")));
        } else if !group.contains('.') {
            errors.push(FieldError::invalid(&at, group, "should be a domain with at least one dot"));
        }
    }
    check::one_of(errors, &path.child("scope"), text(spec, "scope"), &["Cluster", "Namespaced"]);
    if flag(spec, "preserveUnknownFields") {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(&path.child("preserveUnknownFields"), true, detail));
    }
    versions(errors, path, spec, old);
    let (names, at) = (of(spec, "names"), path.child("names"));
    for key in ["plural", "singular", "kind", "listKind"] {
        check::required(errors, &at.child(key), text(names, key));
    }
    names_of(errors, &at, names);
    conversion(errors, &path.child("conversion"), of(spec, "conversion"));
}

fn versions(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, old: &Value) {
    let (all, path) = (list(spec, "versions"), path.child("versions"));
    for (i, version) in all.iter().enumerate() {
        let name = text(version, "name");
        let faults = names::dns1035_label(name);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&path.index(i).child("name"), name, faults.join(",")));
        }
    }
    let unique: std::collections::BTreeSet<&str> = all.iter().map(|version| text(version, "name")).collect();
    if unique.len() != all.len() {
        errors.push(FieldError::invalid(&path, all.to_vec(), "must contain unique version names"));
    }
    if all.iter().filter(|version| flag(version, "storage")).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(&path, all.to_vec(), detail));
    }
    for (i, version) in all.iter().enumerate() {
        let before = list(old, "versions").iter().find(|old| of(old, "name") == of(version, "name"));
        version::version(errors, &path.index(i), version, before.unwrap_or(&Value::Null));
    }
}

fn names_of(errors: &mut ErrorList, path: &Path<'_>, names: &Value) {
    for key in ["plural", "singular"] {
        let name = text(names, key);
        label(errors, &path.child(key), name, "");
    }
    for key in ["kind", "listKind"] {
        let name = text(names, key);
        if !name.is_empty() {
            let faults = names::dns1035_label(&name.to_lowercase());
            if !faults.is_empty() {
                let detail = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
                errors.push(FieldError::invalid(&path.child(key), name, detail));
            }
        }
    }
    for (i, name) in list(names, "shortNames").iter().enumerate() {
        label(errors, &path.child("shortNames").index(i), name.as_str().unwrap_or(""), " ");
    }
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&path.child("listKind"), list_kind, detail));
    }
    for (i, name) in list(names, "categories").iter().enumerate() {
        label(errors, &path.child("categories").index(i), name.as_str().unwrap_or(""), " ");
    }
}

/// A DNS label; the empty text passes where `also` is empty.
fn label(errors: &mut ErrorList, path: &Path<'_>, name: &str, also: &str) {
    if name.is_empty() && also.is_empty() {
        return;
    }
    let faults = names::dns1035_label(name);
    if !faults.is_empty() {
        errors.push(FieldError::invalid(path, name, faults.join(",")));
    }
}

fn conversion(errors: &mut ErrorList, path: &Path<'_>, conversion: &Value) {
    if !conversion.is_object() {
        return;
    }
    let strategy = text(conversion, "strategy");
    check::one_of(errors, &path.child("strategy"), strategy, &["None", "Webhook"]);
    let webhook = of(conversion, "webhook");
    let at = path.child("webhook");
    if strategy != "Webhook" {
        if webhook.is_object() {
            let detail = format!("should not be set when strategy is not set to {}", "Webhook");
            errors.push(FieldError::forbidden(&at, detail));
        }
        return;
    }
    let client = of(webhook, "clientConfig");
    if !client.is_object() {
        errors.push(FieldError::required(
            &at.child("clientConfig"),
            "required when strategy is set to Webhook",
        ));
        return;
    }
    super::webhook::client::client(errors, &at.child("clientConfig"), client);
    let reviews = list(webhook, "conversionReviewVersions");
    let at = at.child("conversionReviewVersions");
    if reviews.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if !reviews.iter().any(|version| version == "v1" || version == "v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(&at, reviews.to_vec(), detail));
    }
}

/// A group of the project itself needs its approval.
fn approval(errors: &mut ErrorList, object: &Object, group: &str) {
    let protected = PROTECTED.iter().any(|of| group == *of || group.ends_with(&format!(".{of}")));
    if !protected {
        return;
    }
    let metadata = Path::root("metadata");
    let annotations = metadata.child("annotations");
    let at = annotations.key(APPROVED);
    match object.annotations().find(|(key, _)| *key == APPROVED) {
        None => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            );
            errors.push(FieldError::required(&at, detail));
        }
        Some((_, given)) if given.starts_with("unapproved") || is_url(given) => {}
        Some((_, given)) => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
            );
            errors.push(FieldError::invalid(&at, given, detail));
        }
    }
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
}
