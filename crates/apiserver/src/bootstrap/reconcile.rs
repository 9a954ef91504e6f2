//! Decides whether one object is to be written. Pure.
//!
//! Roles and bindings only gain rules and subjects: added ones stay. The annotation
//! `rbac.authorization.kubernetes.io/autoupdate` with the value `false` keeps an object unchanged.

use api::Object;
use serde_json::{Map, Value};

use super::policy::AUTOUPDATE;
use crate::identity::authz::rbac::Rule;
use crate::identity::authz::rbac::rule::missing;

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Create(Object),
    Update(Object),
    /// Delete and create.
    Replace(Object),
}

/// What makes `found` into `wanted`; `None` when nothing is missing.
pub(super) fn plan(wanted: &Object, found: Option<&Object>) -> Option<Action> {
    let Some(found) = found else { return Some(Action::Create(wanted.clone())) };
    if found.annotation(AUTOUPDATE) == Some("false") {
        return None;
    }
    let reference = |object: &Object| object.0.get("roleRef").map(|r| (r["kind"].clone(), r["name"].clone()));
    // The family of a slice's addresses, which may be another one than at the last start.
    let family = |object: &Object| object.0.get("addressType").cloned();
    if reference(wanted) != reference(found) || family(wanted) != family(found) {
        return Some(Action::Replace(wanted.clone()));
    }
    let mut next = found.clone();
    for (key, value) in &wanted.0 {
        match key.as_str() {
            "apiVersion" | "kind" => {}
            "rules" => add_rules(&mut next, value),
            "subjects" => add_subjects(&mut next, value),
            _ => add(&mut next.0, key, value),
        }
    }
    (next != *found).then_some(Action::Update(next))
}

/// Makes what is missing and leaves what is found as its owner has it.
pub(super) fn plan_missing(wanted: &Object, found: Option<&Object>) -> Option<Action> {
    found.is_none().then(|| Action::Create(wanted.clone()))
}

/// Puts `value` under `key`: objects are merged, everything else is replaced, lists if they differ.
fn add(into: &mut Map<String, Value>, key: &str, value: &Value) {
    match (into.get_mut(key), value) {
        (Some(Value::Object(ours)), Value::Object(wanted)) => {
            for (key, value) in wanted {
                add(ours, key, value);
            }
        }
        (Some(ours), wanted) if contains(ours, wanted) => {}
        _ => drop(into.insert(key.to_owned(), value.clone())),
    }
}

/// Whether `value` says all that `wanted` says; the server may have filled in more.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| contains(value, wanted)))
        }
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len()
                && value.iter().zip(wanted).all(|(value, wanted)| contains(value, wanted))
        }
        (value, wanted) => value == wanted,
    }
}

fn add_rules(next: &mut Object, wanted: &Value) {
    let read = |value: Option<&Value>| -> Vec<Rule> {
        value.and_then(|rules| serde_json::from_value(rules.clone()).ok()).unwrap_or_default()
    };
    let owned = read(next.0.get("rules"));
    let lacking = missing(owned.iter(), &read(Some(wanted)));
    if lacking.is_empty() {
        return;
    }
    extend(&mut next.0, "rules", lacking.iter().map(Rule::to_json));
}

fn add_subjects(next: &mut Object, wanted: &Value) {
    let found = next.0.get("subjects").and_then(Value::as_array).cloned().unwrap_or_default();
    let lacking = wanted
        .as_array()
        .into_iter()
        .flatten()
        .filter(|subject| !found.iter().any(|known| contains(known, subject)))
        .cloned();
    extend(&mut next.0, "subjects", lacking);
}

fn extend(map: &mut Map<String, Value>, key: &str, items: impl Iterator<Item = Value>) {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return;
    }
    match map.get_mut(key) {
        Some(Value::Array(list)) => list.extend(items),
        _ => drop(map.insert(key.to_owned(), items.into())),
    }
}
