//! Admission policies and their bindings. Source: upstream's
//! `pkg/apis/admissionregistration/validation/validation.go`.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::field::{ErrorList, FieldError, Path};
use api::{Object, names};
use expressions::{ObjectType, Type};
use serde_json::Value;

use super::webhook::rules;
use super::{check, read, selector, webhook};
use crate::conditions::{Scope, configuration_type, json_patch_type};

const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
const PATCHES: [&str; 2] = ["ApplyConfiguration", "JSONPatch"];
const REINVOCATION: [&str; 2] = ["IfNeeded", "Never"];
/// What can be changed: a deletion sends nothing.
const CHANGING: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const MAX_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION_BYTES: usize = 5 * 1024;

/// Everything wrong with a validating policy.
pub(crate) fn validating(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (read::top(object, "spec"), Path::root("spec"));
    let scope = policy(&mut errors, &path, spec, None);
    let (validations, annotations) = (read::list(spec, "validations"), read::list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        for key in ["validations", "auditAnnotations"] {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required(&path.child(key), detail));
        }
    }
    let at = path.child("validations");
    for (i, one) in validations.iter().enumerate() {
        validation(&mut errors, &at.index(i), one, &scope);
    }
    audit_annotations(&mut errors, &path.child("auditAnnotations"), annotations, &scope, object.name());
    errors
}

/// Everything wrong with a mutating policy.
pub(crate) fn mutating(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (read::top(object, "spec"), Path::root("spec"));
    let scope = policy(&mut errors, &path, spec, Some(&CHANGING));
    let scope = Scope { patches: true, ..scope };
    let (mutations, at) = (read::list(spec, "mutations"), path.child("mutations"));
    if mutations.is_empty() {
        errors.push(FieldError::required(&at, "mutations must contain at least one item"));
    }
    for (i, one) in mutations.iter().enumerate() {
        mutation(&mut errors, &at.index(i), one, &scope);
    }
    let key = "reinvocationPolicy";
    check::one_of(&mut errors, &path.child(key), read::text(spec, key), &REINVOCATION);
    errors
}

/// What is wrong with what policies of both sorts have, and the scope of their expressions. `operations`: those that
/// the policy may be about, where these are not all.
fn policy(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, operations: Option<&[&str]>) -> Scope {
    check::one_of(
        errors,
        &path.child("failurePolicy"),
        read::text(spec, "failurePolicy"),
        &webhook::POLICIES,
    );
    let param_kind = read::get(spec, "paramKind");
    if let Some(kind) = param_kind {
        self::param_kind(errors, &path.child("paramKind"), kind);
    }
    let at = path.child("matchConstraints");
    match read::get(spec, "matchConstraints") {
        None => errors.push(FieldError::required(&at, "")),
        Some(constraints) => {
            match_resources(errors, &at, constraints);
            if read::list(constraints, "resourceRules").is_empty() {
                errors.push(FieldError::required(&at.child("resourceRules"), ""));
            }
            self::operations(errors, &at, constraints, operations);
        }
    }
    let base = Scope { params: param_kind.is_some(), authorizer: true, ..Scope::default() };
    let conditions = read::list(spec, "matchConditions");
    webhook::conditions(errors, &path.child("matchConditions"), conditions, &base);
    variables(errors, &path.child("variables"), read::list(spec, "variables"), &base)
}

/// Refuses operations that a policy cannot be about. As upstream, the path is that of the field, whichever rule it is.
fn operations(errors: &mut ErrorList, path: &Path<'_>, resources: &Value, allowed: Option<&[&str]>) {
    let Some(allowed) = allowed else { return };
    let (rules_at, rules) = (path.child("resourceRules"), read::list(resources, "resourceRules"));
    let at = rules_at.child("operations");
    for operation in rules.iter().flat_map(|rule| read::texts(rule, "operations")) {
        if !allowed.contains(&operation) {
            errors.push(FieldError::not_supported(&at, operation, allowed));
        }
    }
}

fn mutation(errors: &mut ErrorList, path: &Path<'_>, mutation: &Value, scope: &Scope) {
    let of = read::text(mutation, "patchType");
    check::one_of(errors, &path.child("patchType"), of, &PATCHES);
    if !PATCHES.contains(&of) {
        return;
    }
    let (wanted, other, result) = match of {
        "JSONPatch" => ("jsonPatch", "applyConfiguration", json_patch_type()),
        _ => ("applyConfiguration", "jsonPatch", configuration_type()),
    };
    let at = path.child(wanted);
    match read::get(mutation, wanted) {
        None => {
            errors.push(FieldError::required(&at, format!("must be specified when patchType is {of}")));
        }
        Some(given) => {
            let (text, at) = (read::text(given, "expression").trim(), at.child("expression"));
            if check::required(errors, &at, text)
                && let Err(detail) = scope.compile(text, &[result])
            {
                errors.push(FieldError::invalid(&at, text, detail));
            }
        }
    }
    if read::get(mutation, other).is_some() {
        let detail = format!("must not be specified when patchType is {of}");
        errors.push(FieldError::invalid(&path.child(other), format!("{{{other}}}"), detail));
    }
}

/// Everything wrong with a validating policy's binding.
pub(crate) fn validating_binding(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (read::top(object, "spec"), Path::root("spec"));
    // The path is written so upstream.
    binding(&mut errors, &path, spec, "matchResouces");
    actions(&mut errors, &path.child("validationActions"), spec);
    errors
}

/// Everything wrong with a mutating policy's binding.
pub(crate) fn mutating_binding(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (read::top(object, "spec"), Path::root("spec"));
    binding(&mut errors, &path, spec, "matchResources");
    let resources = read::of(spec, "matchResources");
    operations(&mut errors, &path.child("matchResources"), resources, Some(&CHANGING));
    errors
}

/// What is wrong with what bindings of both sorts have.
fn binding(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, resources_key: &str) {
    let (name, at) = (read::text(spec, "policyName"), path.child("policyName"));
    if check::required(errors, &at, name) {
        check::faults(errors, &at, name, names::dns1123_subdomain(name));
    }
    if let Some(reference) = read::get(spec, "paramRef") {
        param_ref(errors, &path.child("paramRef"), reference);
    }
    if let Some(resources) = read::get(spec, "matchResources") {
        match_resources(errors, &path.child(resources_key), resources);
    }
}

fn param_kind(errors: &mut ErrorList, path: &Path<'_>, kind: &Value) {
    let (version, at) = (read::text(kind, "apiVersion"), path.child("apiVersion"));
    if check::required(errors, &at, version) {
        if version.matches('/').count() > 1 {
            errors.push(FieldError::invalid(
                &at,
                version,
                format!("unexpected GroupVersion string: {version}"),
            ));
        } else {
            let (group, name) = version.split_once('/').unwrap_or(("", version));
            if !group.is_empty() {
                joined(errors, &at, group, names::dns1123_subdomain(group), "");
            }
            if name.is_empty() {
                errors.push(FieldError::invalid(&at, version, "version must be specified"));
            } else {
                joined(errors, &at, name, names::dns1035_label(name), "");
            }
        }
    }
    let (name, at) = (read::text(kind, "kind"), path.child("kind"));
    if check::required(errors, &at, name) {
        let prefix = "may have mixed case, but should otherwise match: ";
        joined(errors, &at, name, names::dns1035_label(&name.to_lowercase()), prefix);
    }
}

fn joined(errors: &mut ErrorList, path: &Path<'_>, value: &str, faults: names::Faults, prefix: &str) {
    if !faults.is_empty() {
        errors.push(FieldError::invalid(path, value, format!("{prefix}{}", faults.join(","))));
    }
}

fn match_resources(errors: &mut ErrorList, path: &Path<'_>, resources: &Value) {
    check::one_of(
        errors,
        &path.child("matchPolicy"),
        read::text(resources, "matchPolicy"),
        &webhook::MATCH_POLICIES,
    );
    webhook::selectors(errors, path, resources);
    for key in ["resourceRules", "excludeResourceRules"] {
        let at = path.child(key);
        for (i, rule) in read::list(resources, key).iter().enumerate() {
            let at = at.index(i);
            let mut seen = BTreeSet::new();
            let names_at = at.child("resourceNames");
            for (i, name) in read::texts(rule, "resourceNames").enumerate() {
                check::faults(errors, &names_at.index(i), name, names::path_segment_name(name, false));
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(&names_at.index(i), name));
                }
            }
            rules::with_operations(errors, &at, rule);
        }
    }
}

/// Checks variables, and returns the scope of those who may use them.
fn variables(errors: &mut ErrorList, path: &Path<'_>, all: &[Value], base: &Scope) -> Scope {
    let mut known = ObjectType::default();
    for (i, variable) in all.iter().enumerate() {
        let path = path.index(i);
        let (name, at) = (read::text(variable, "name"), path.child("name"));
        if name.trim().is_empty() {
            errors.push(FieldError::required(&at, "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(FieldError::invalid(&at, name, "name is not a valid CEL identifier"));
        }
        let (text, at) = (read::text(variable, "expression"), path.child("expression"));
        if text.trim().is_empty() {
            errors.push(FieldError::required(&at, "expression is not specified"));
            continue;
        }
        let fields = ObjectType { fields: known.fields.clone() };
        let scope = Scope { variables: Some(Arc::new(fields)), ..base.clone() };
        let of = match scope.compile(text, &[]) {
            Ok(program) => program.result_type().clone(),
            Err(detail) => {
                errors.push(FieldError::invalid(&at, text, detail));
                Type::Dyn
            }
        };
        known.fields.insert(name.to_owned(), of);
    }
    Scope { variables: (!all.is_empty()).then(|| Arc::new(known)), ..base.clone() }
}

fn is_identifier(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(word)
        && !expressions::RESERVED.contains(&name)
}

fn validation(errors: &mut ErrorList, path: &Path<'_>, validation: &Value, scope: &Scope) {
    let (text, at) = (read::text(validation, "expression"), path.child("expression"));
    if text.trim().is_empty() {
        errors.push(FieldError::required(&at, "expression is not specified"));
    } else if let Err(detail) = scope.compile(text, &[Type::Bool]) {
        errors.push(FieldError::invalid(&at, text, detail));
    }
    let (text, at) = (read::text(validation, "messageExpression"), path.child("messageExpression"));
    if !text.is_empty() {
        let scope = Scope { authorizer: false, ..scope.clone() };
        if text.trim().is_empty() {
            errors.push(FieldError::invalid(&at, text, "must be non-empty if specified"));
        } else if let Err(detail) = scope.compile(text, &[Type::String]) {
            errors.push(FieldError::invalid(&at, text, detail));
        }
    }
    let (message, at) = (read::text(validation, "message"), path.child("message"));
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(&at, message, "message must be non-empty if specified"));
    } else if message.trim().contains(['\n', '\r']) {
        errors.push(FieldError::invalid(&at, message, "message must not contain line breaks"));
    }
    check::if_given_one_of(errors, &path.child("reason"), read::text(validation, "reason"), &REASONS);
}

fn audit_annotations(errors: &mut ErrorList, path: &Path<'_>, all: &[Value], scope: &Scope, name: &str) {
    if all.len() > MAX_ANNOTATIONS {
        let detail = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(path, all.to_vec(), detail));
    }
    let mut keys = BTreeSet::new();
    for (i, annotation) in all.iter().enumerate() {
        let path = path.index(i);
        let (key, at) = (read::text(annotation, "key"), path.child("key"));
        let whole = format!("{name}/{key}");
        check::faults(errors, &at, &whole, names::qualified_name(&whole));
        let (text, value_at) = (read::text(annotation, "valueExpression"), path.child("valueExpression"));
        if text.trim().is_empty() {
            errors.push(FieldError::required(&value_at, "valueExpression is not specified"));
        } else if text.trim().len() > MAX_VALUE_EXPRESSION_BYTES {
            let detail = format!("must not exceed {MAX_VALUE_EXPRESSION_BYTES} bytes in length");
            errors.push(FieldError::required(&value_at, detail));
        } else if let Err(detail) = scope.compile(text, &[Type::String, Type::Null]) {
            errors.push(FieldError::invalid(&value_at, text, detail));
        }
        if !keys.insert(key) {
            errors.push(FieldError::duplicate(&at, key));
        }
    }
}

fn param_ref(errors: &mut ErrorList, path: &Path<'_>, reference: &Value) {
    let (name, chosen) = (read::text(reference, "name"), read::get(reference, "selector"));
    let exclusive = "name and selector are mutually exclusive";
    if !name.is_empty() {
        let at = path.child("name");
        check::faults(errors, &at, name, names::path_segment_name(name, false));
        if chosen.is_some() {
            errors.push(FieldError::forbidden(&at, exclusive));
        }
    }
    if chosen.is_some() {
        let at = path.child("selector");
        selector::label_selector(errors, &at, chosen);
        if !name.is_empty() {
            errors.push(FieldError::forbidden(&at, exclusive));
        }
    }
    if name.is_empty() && chosen.is_none() {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    let (key, actions) = ("parameterNotFoundAction", ["Deny", "Allow"]);
    check::one_of(errors, &path.child(key), read::text(reference, key), &actions);
}

fn actions(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let actions: Vec<&str> = read::texts(spec, "validationActions").collect();
    for (i, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(action) {
            errors.push(FieldError::not_supported(&path.index(i), *action, &ACTIONS));
        }
        if actions[..i].contains(action) {
            errors.push(FieldError::duplicate(&path.index(i), *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(path, actions.clone(), detail));
    }
    if actions.is_empty() {
        errors.push(FieldError::required(path, "at least one validation action is required"));
    }
}
