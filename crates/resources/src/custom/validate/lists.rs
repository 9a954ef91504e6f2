//! Lists that are sets or maps hold nothing twice. Source: upstream's
//! `apiextensions-apiserver/pkg/apiserver/schema/listtype`.

use api::field::{ErrorList, FieldError, Path};
use serde_json::{Map, Value};

use crate::custom::structural::{ListType, Structural};

/// The items that are in a list twice, in all of an object.
pub(crate) fn duplicates(schema: &Structural, object: &Map<String, Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    fields(schema, object, &Path::root(""), &mut errors);
    errors
}

fn fields(schema: &Structural, all: &Map<String, Value>, path: &Path<'_>, errors: &mut ErrorList) {
    for (key, value) in all {
        match schema.properties.get(key.as_str()) {
            Some(below) => inside(below, value, &path.child(key), errors),
            None => {
                if let Some(below) = schema.below(key) {
                    inside(below, value, &path.key(key), errors);
                }
            }
        }
    }
}

fn inside(schema: &Structural, value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match value {
        Value::Object(all) => fields(schema, all, path, errors),
        Value::Array(items) => {
            let Some(below) = &schema.items else { return };
            match schema.list_type {
                ListType::Atomic => {}
                ListType::Set => twice(items.iter().cloned(), path, errors),
                ListType::Map => twice(items.iter().map(|item| keys(schema, below, item)), path, errors),
            }
            for (i, item) in items.iter().enumerate() {
                inside(below, item, &path.index(i), errors);
            }
        }
        _ => {}
    }
}

/// The item of an old list that an item is the new state of: by its keys, in a list that has them.
pub(crate) fn counterpart<'o>(
    schema: &Structural,
    below: &Structural,
    item: &Value,
    old: &'o [Value],
) -> Option<&'o Value> {
    if schema.list_type != ListType::Map {
        return None;
    }
    let own = keys(schema, below, item);
    old.iter().find(|old| keys(schema, below, old) == own)
}

/// An item's keys and their values.
fn keys(schema: &Structural, below: &Structural, item: &Value) -> Value {
    let own = schema.keys.iter().filter_map(|key| {
        let default = || below.properties.get(key)?.default.as_deref();
        Some((key.to_string(), item.get(&**key).or_else(default)?.clone()))
    });
    Value::Object(own.collect())
}

/// Reports each value that was there before.
fn twice(values: impl Iterator<Item = Value>, path: &Path<'_>, errors: &mut ErrorList) {
    let mut seen = std::collections::HashSet::new();
    for (i, value) in values.enumerate() {
        if !seen.insert(value.to_string()) {
            errors.push(FieldError::duplicate(&path.index(i), value));
        }
    }
}
