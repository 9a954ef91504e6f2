//! The object after an apply: live and configuration merged, and what is no longer applied pruned.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::compare::{Parts, parts};
use super::element;
use super::set::{FieldSet, Node, child, children, is_member};
use crate::Object;
use crate::schema::{List, Shape, StructId, Types};

/// Merges a configuration into the live object: its values win.
pub(super) fn merge(types: &Types, id: StructId, live: &mut Object, config: Object) {
    merge_struct(types, id, &mut live.0, config.0);
}

fn merge_struct(types: &Types, id: StructId, live: &mut Map<String, Value>, config: Map<String, Value>) {
    for (key, value) in config {
        let shape = types.get(id).field(&key).map(|f| &f.shape);
        merge_entry(types, shape, live, key, value);
    }
}

fn merge_entry(
    types: &Types,
    shape: Option<&Shape>,
    live: &mut Map<String, Value>,
    key: String,
    value: Value,
) {
    match live.get_mut(&key) {
        Some(slot) => merge_value(types, shape, slot, value),
        None => {
            live.insert(key, value);
        }
    }
}

fn merge_value(types: &Types, shape: Option<&Shape>, live: &mut Value, config: Value) {
    match (parts(types, shape), live, config) {
        (Parts::Struct(id), Value::Object(live), Value::Object(config)) => {
            merge_struct(types, id, live, config);
        }
        (Parts::Map(shape), Value::Object(live), Value::Object(config)) => {
            config.into_iter().for_each(|(key, value)| merge_entry(types, Some(shape), live, key, value));
        }
        (Parts::Deduced, Value::Object(live), Value::Object(config)) => {
            config.into_iter().for_each(|(key, value)| merge_entry(types, None, live, key, value));
        }
        (Parts::List(list), Value::Array(live), Value::Array(config)) => {
            merge_items(types, list, live, config);
        }
        (_, live, config) => *live = config,
    }
}

/// Items that only live has come before what the configuration adds, those of the configuration in its order. An item
/// that live has twice is the configuration's afterwards. Upstream: `structured-merge-diff/typed/merge.go`.
fn merge_items(types: &Types, list: &List, live: &mut Vec<Value>, config: Vec<Value>) {
    let elements = |items: &[Value]| -> Option<Vec<String>> {
        items.iter().map(|item| element::of_item(&list.topology, item)).collect()
    };
    let (Some(old), Some(new)) = (elements(live), elements(&config)) else {
        *live = config;
        return;
    };
    let named: HashSet<&str> = new.iter().map(String::as_str).collect();
    // Where the items of live are; none where two are alike.
    let mut places: HashMap<&str, Option<usize>> = HashMap::new();
    for (at, element) in old.iter().enumerate() {
        places.entry(element).and_modify(|place| *place = None).or_insert(Some(at));
    }
    let mut shared = new.iter().filter(|element| places.contains_key(element.as_str())).peekable();
    let mut items: Vec<Option<Value>> = std::mem::take(live).into_iter().map(Some).collect();
    let mut merged: HashSet<&str> = HashSet::new();
    let mut next_old = 0;
    for (element, item) in new.iter().zip(config) {
        while let Some(other) = old.get(next_old).filter(|other| *other != element) {
            let waited_for = shared.peek().is_some_and(|next| *next == other);
            if !named.contains(other.as_str()) {
                live.extend(items[next_old].take());
            } else if waited_for && !merged.contains(other.as_str()) {
                break;
            }
            next_old += 1;
        }
        next_old += usize::from(old.get(next_old) == Some(element));
        shared.next_if_eq(&element);
        merged.insert(element);
        let own = places.get(element.as_str()).copied().flatten().and_then(|at| items[at].take());
        live.push(match own {
            Some(mut own) => {
                merge_value(types, Some(&list.item), &mut own, item);
                own
            }
            None => item,
        });
    }
    let rest = old.iter().zip(items).skip(next_old);
    live.extend(rest.filter(|(element, _)| !named.contains(element.as_str())).filter_map(|(_, item)| item));
}

/// Removes from `object` what is in `last` (applied the time before) and in no set of `managed` (what
/// all managers own now).
pub(super) fn prune(types: &Types, id: StructId, object: &mut Object, last: &FieldSet, managed: &FieldSet) {
    prune_struct(types, id, &mut object.0, &last.0, Some(&managed.0));
}

/// Whether a field or item goes; fields of structures count as members without being named so.
fn goes(named: bool, last: &Node, managed: Option<&Node>) -> bool {
    (named || is_member(last)) && !managed.is_some_and(|m| named || is_member(m))
}

fn prune_struct(
    types: &Types,
    id: StructId,
    fields: &mut Map<String, Value>,
    last: &Node,
    managed: Option<&Node>,
) {
    for (element, last) in children(last) {
        let Some(key) = element.strip_prefix("f:") else { continue };
        let managed = managed.and_then(|m| child(m, element));
        let field = types.get(id).field(key);
        if goes(field.is_some(), last, managed) {
            fields.remove(key);
        } else if let Some(value) = fields.get_mut(key) {
            prune_value(types, field.map(|f| &f.shape), value, last, managed);
        }
    }
}

fn prune_entries(
    types: &Types,
    shape: Option<&Shape>,
    entries: &mut Map<String, Value>,
    last: &Node,
    managed: Option<&Node>,
) {
    for (element, last) in children(last) {
        let Some(key) = element.strip_prefix("f:") else { continue };
        let managed = managed.and_then(|m| child(m, element));
        if goes(false, last, managed) {
            entries.remove(key);
        } else if let Some(value) = entries.get_mut(key) {
            prune_value(types, shape, value, last, managed);
        }
    }
}

fn prune_value(types: &Types, shape: Option<&Shape>, value: &mut Value, last: &Node, managed: Option<&Node>) {
    match (parts(types, shape), value) {
        (Parts::Struct(id), Value::Object(fields)) => prune_struct(types, id, fields, last, managed),
        (Parts::Map(shape), Value::Object(entries)) => {
            prune_entries(types, Some(shape), entries, last, managed);
        }
        (Parts::Deduced, Value::Object(entries)) => prune_entries(types, None, entries, last, managed),
        (Parts::List(list), Value::Array(items)) => items.retain_mut(|item| {
            let Some(element) = element::of_item(&list.topology, item) else { return true };
            let Some(last) = child(last, &element) else { return true };
            let managed = managed.and_then(|m| child(m, &element));
            let stays = !goes(false, last, managed);
            if stays {
                prune_value(types, Some(&list.item), item, last, managed);
            }
            stays
        }),
        _ => {}
    }
}
