//! Validation of a pod's placement: node and pod affinity, and spreading.

use std::collections::{HashMap, HashSet};

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use crate::validation::{check, read, selector};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let Some(affinity) = read::get(spec, "affinity") else { return };
    if let Some(node) = read::get(affinity, "nodeAffinity") {
        let at = path.child("nodeAffinity");
        if let Some(required) = read::get(node, REQUIRED) {
            node_selector(errors, &at.child(REQUIRED), required);
        }
        let preferred = at.child(PREFERRED);
        for (i, term) in read::list(node, PREFERRED).iter().enumerate() {
            let at = preferred.index(i);
            weight(errors, &at, term);
            let preference = read::of(term, "preference");
            node_selector_term(errors, &at.child("preference"), preference, false);
        }
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = read::get(affinity, key) else { continue };
        let at = path.child(key);
        let (required, preferred) = (at.child(REQUIRED), at.child(PREFERRED));
        for (i, term) in read::list(pods, REQUIRED).iter().enumerate() {
            pod_term(errors, &required.index(i), term);
        }
        for (i, term) in read::list(pods, PREFERRED).iter().enumerate() {
            let at = preferred.index(i);
            weight(errors, &at, term);
            let inner = read::of(term, "podAffinityTerm");
            pod_term(errors, &at.child("podAffinityTerm"), inner);
        }
    }
}

fn weight(errors: &mut ErrorList, path: &Path<'_>, term: &Value) {
    let weight = read::int(term, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

/// A selector of nodes, as of pods and persistent volumes.
pub(in crate::validation) fn node_selector(errors: &mut ErrorList, path: &Path<'_>, selector: &Value) {
    let terms = path.child("nodeSelectorTerms");
    let list = read::list(selector, "nodeSelectorTerms");
    if list.is_empty() {
        errors.push(FieldError::required(&terms, "must have at least one node selector term"));
    }
    for (i, term) in list.iter().enumerate() {
        node_selector_term(errors, &terms.index(i), term, true);
    }
}

fn node_selector_term(errors: &mut ErrorList, path: &Path<'_>, term: &Value, strict: bool) {
    let expressions = path.child("matchExpressions");
    for (i, requirement) in read::list(term, "matchExpressions").iter().enumerate() {
        node_requirement(errors, &expressions.index(i), requirement, strict);
    }
    let fields = path.child("matchFields");
    for (i, requirement) in read::list(term, "matchFields").iter().enumerate() {
        node_field(errors, &fields.index(i), requirement);
    }
}

fn node_requirement(errors: &mut ErrorList, path: &Path<'_>, requirement: &Value, strict: bool) {
    let values = read::list(requirement, "values");
    let at = path.child("values");
    match read::text(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(FieldError::required(&at, "must be specified when `operator` is 'In' or 'NotIn'"))
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
            &at,
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "Gt" | "Lt" if values.len() != 1 => errors.push(FieldError::required(
            &at,
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(&path.child("operator"), other, detail));
        }
    }
    let key = read::text(requirement, "key");
    check::faults(errors, &path.child("key"), key, names::qualified_name(key));
    if strict {
        for (i, value) in read::texts(requirement, "values").enumerate() {
            check::faults(errors, &at.index(i), value, names::label_value(value));
        }
    }
}

fn node_field(errors: &mut ErrorList, path: &Path<'_>, requirement: &Value) {
    let at = path.child("values");
    match read::text(requirement, "operator") {
        "In" | "NotIn" => {
            if read::list(requirement, "values").len() != 1 {
                let detail =
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(FieldError::required(&at, detail));
            }
        }
        other => {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(&path.child("operator"), other, detail));
        }
    }
    match read::text(requirement, "key") {
        "metadata.name" => {
            for (i, name) in read::texts(requirement, "values").enumerate() {
                check::faults(errors, &at.index(i), name, names::dns1123_subdomain(name));
            }
        }
        other => {
            let detail = "not a valid field selector key";
            errors.push(FieldError::invalid(&path.child("key"), other, detail));
        }
    }
}

fn pod_term(errors: &mut ErrorList, path: &Path<'_>, term: &Value) {
    for key in ["labelSelector", "namespaceSelector"] {
        selector::label_selector(errors, &path.child(key), read::get(term, key));
    }
    for name in read::texts(term, "namespaces") {
        check::faults(errors, &path.child("namespace"), name, names::dns1123_label(name));
    }
    label_keys(errors, path, term, true);
    let key = read::text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    check::faults(errors, &path.child("topologyKey"), key, names::qualified_name(key));
}

/// Keys of labels whose values the pod itself has. Terms of affinity, unlike spread constraints, also have keys whose
/// values must differ.
fn label_keys(errors: &mut ErrorList, path: &Path<'_>, term: &Value, of_affinity: bool) {
    let selector = read::get(term, "labelSelector");
    let mut lists = vec!["matchLabelKeys"];
    lists.extend(of_affinity.then_some("mismatchLabelKeys"));
    for list in &lists {
        let at = path.child(list);
        if selector.is_none() && !read::list(term, list).is_empty() {
            errors.push(FieldError::forbidden(&at, "must not be specified when labelSelector is not set"));
            continue;
        }
        for (i, key) in read::texts(term, list).enumerate() {
            check::faults(errors, &at.index(i), key, names::qualified_name(key));
        }
    }
    if let Some(selector) = selector {
        selected_twice(errors, path, term, selector);
    }
    if of_affinity {
        let others: HashSet<&str> = read::texts(term, "mismatchLabelKeys").collect();
        let at = path.child("matchLabelKeys");
        for (i, key) in
            read::texts(term, "matchLabelKeys").enumerate().filter(|(_, key)| others.contains(key))
        {
            let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.push(FieldError::invalid(&at.index(i), key, detail));
        }
    }
}

/// What the keys select was added to the selector when the pod was made: a key that is there twice was there before.
/// Upstream's path leaves out the list that the index is of.
fn selected_twice(errors: &mut ErrorList, path: &Path<'_>, term: &Value, selector: &Value) {
    let keys: HashMap<&str, usize> = read::texts(term, "matchLabelKeys").zip(0..).collect();
    let mut selected: HashSet<&str> = read::pairs(selector, "matchLabels").map(|(key, _)| key).collect();
    for expression in read::list(selector, "matchExpressions") {
        let key = read::text(expression, "key");
        if let Some(i) = keys.get(key).filter(|_| selected.contains(key)) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(&path.index(*i), key, detail));
        }
        selected.insert(key);
    }
}

pub(super) fn spread(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let constraints = read::list(spec, "topologySpreadConstraints");
    let pair =
        |constraint| (read::text(constraint, "topologyKey"), read::text(constraint, "whenUnsatisfiable"));
    let last: HashMap<_, usize> = constraints.iter().map(pair).zip(0..).collect();
    for (i, constraint) in constraints.iter().enumerate() {
        let at = path.index(i);
        let (key, action) = pair(constraint);
        let skew = read::int(constraint, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(&at.child("maxSkew"), skew, check::NOT_POSITIVE));
        }
        if key.is_empty() {
            errors.push(FieldError::required(&at.child("topologyKey"), "can not be empty"));
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&action) {
            errors.push(FieldError::not_supported(&at.child("whenUnsatisfiable"), action, &actions));
        }
        if last.get(&(key, action)).is_some_and(|last| *last > i) {
            let value = format!("{{{key}, {action}}}");
            errors.push(FieldError::duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), value));
        }
        if let Some(domains) = read::int(constraint, "minDomains") {
            if domains <= 0 {
                errors.push(FieldError::invalid(&at.child("minDomains"), domains, check::NOT_POSITIVE));
            }
            if action != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.push(FieldError::invalid(&at.child("minDomains"), domains, detail));
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let value = read::text(constraint, policy);
            check::if_given_one_of(errors, &at.child(policy), value, &["Honor", "Ignore"]);
        }
        label_keys(errors, &at, constraint, false);
        selector::label_selector(errors, &at.child("labelSelector"), read::get(constraint, "labelSelector"));
    }
}
