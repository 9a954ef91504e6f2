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
    let mismatched: HashSet<&str> = read::texts(term, "mismatchLabelKeys").collect();
    label_keys(errors, path, term, "matchLabelKeys", &mismatched);
    label_keys(errors, path, term, "mismatchLabelKeys", &HashSet::new());
    let key = read::text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    check::faults(errors, &path.child("topologyKey"), key, names::qualified_name(key));
}

/// Keys of labels whose values the pod itself has; `others` may not be among them.
fn label_keys(errors: &mut ErrorList, path: &Path<'_>, term: &Value, list: &str, others: &HashSet<&str>) {
    let at = path.child(list);
    if read::get(term, "labelSelector").is_none() && !read::list(term, list).is_empty() {
        errors.push(FieldError::forbidden(&at, "must not be specified when labelSelector is not set"));
    }
    for (i, key) in read::texts(term, list).enumerate() {
        check::faults(errors, &at.index(i), key, names::qualified_name(key));
        if others.contains(&key) {
            let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.push(FieldError::invalid(&at.index(i), key, detail));
        }
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
        label_keys(errors, &at, constraint, "matchLabelKeys", &HashSet::new());
        selector::label_selector(errors, &at.child("labelSelector"), read::get(constraint, "labelSelector"));
    }
}
