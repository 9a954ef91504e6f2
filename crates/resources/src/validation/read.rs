//! Reading dynamic objects for validation. Absent, null and wrongly typed fields read alike: as
//! nothing, zero or empty, for structure is checked before.

use serde_json::{Map, Value};

/// A field that is there and not null.
pub(super) fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|v| !v.is_null())
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn int(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(Value::as_i64)
}

pub(super) fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn texts<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    list(value, key).iter().map(|v| v.as_str().unwrap_or(""))
}

pub(super) fn map<'a>(value: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    value.get(key).and_then(Value::as_object)
}

pub(super) fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    map(value, key).into_iter().flatten().map(|(k, v)| (k.as_str(), v))
}

/// A map of strings.
pub(super) fn pairs<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    entries(value, key).map(|(k, v)| (k, v.as_str().unwrap_or("")))
}

/// The entries of a value that is itself a map of strings.
pub(super) fn strings(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    value.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or("")))
}

/// The fields of an object under a top-level key, or an empty object.
pub(super) fn top<'a>(object: &'a api::Object, key: &str) -> &'a Value {
    object.0.get(key).unwrap_or(&Value::Null)
}
