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

/// Items of the configuration come in its order; those only live has stay where they stood beside
/// the ones both have.
fn merge_items(types: &Types, list: &List, live: &mut Vec<Value>, config: Vec<Value>) {
    let element = |item: &Value| element::of_item(&list.topology, item);
    if config.iter().chain(live.iter()).any(|item| element(item).is_none()) {
        *live = config;
        return;
    }
    let named: HashSet<Option<String>> = config.iter().map(element).collect();
    let (mut shared, mut only_live) = (HashMap::new(), Vec::new());
    for (at, item) in std::mem::take(live).into_iter().enumerate() {
        let element = element(&item);
        if named.contains(&element) {
            shared.entry(element).or_insert((at, item));
        } else {
            only_live.push((at, item));
        }
    }
    let mut only_live = only_live.into_iter().peekable();
    for item in config {
        match shared.remove(&element(&item)) {
            Some((at, mut merged)) => {
                while let Some((_, earlier)) = only_live.next_if(|(other, _)| *other < at) {
                    live.push(earlier);
                }
                merge_value(types, Some(&list.item), &mut merged, item);
                live.push(merged);
            }
            None => live.push(item),
        }
    }
    live.extend(only_live.map(|(_, item)| item));
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
