//! Filling in fields of dynamic objects: what defaults are made of.
//!
//! A field is *absent* when it is missing, null or an empty string, as in upstream's typed objects;
//! fields that are pointers upstream are absent only when missing or null.

use serde_json::{Map, Value};

pub(crate) type Fields = Map<String, Value>;

/// Sets a string-like field that is missing, null or empty.
pub(crate) fn text(map: &mut Fields, key: &str, value: &str) {
    let absent = match map.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(_) => false,
    };
    if absent {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets a field that is missing or null.
pub(crate) fn value(map: &mut Fields, key: &str, value: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets a number that is missing, null or zero.
pub(crate) fn number(map: &mut Fields, key: &str, value: i64) {
    if map.get(key).is_none_or(|v| v.is_null() || v.as_i64() == Some(0)) {
        map.insert(key.to_owned(), value.into());
    }
}

/// The object in a field, made if the field is missing or null; `None` when it is something else.
pub(crate) fn object<'a>(map: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), Value::Object(Map::new()));
    }
    map.get_mut(key)?.as_object_mut()
}

/// The object in a field, where there is one.
pub(crate) fn within<'a>(map: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    map.get_mut(key)?.as_object_mut()
}

/// The objects in a list.
pub(crate) fn items<'a>(map: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> + use<'a> {
    map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The string in a field; empty when absent.
pub(crate) fn str_of<'a>(map: &'a Fields, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or("")
}

/// Whether a list or map is missing, null or empty.
pub(crate) fn is_empty(map: &Fields, key: &str) -> bool {
    match map.get(key) {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(other) => other.is_null(),
        None => true,
    }
}
