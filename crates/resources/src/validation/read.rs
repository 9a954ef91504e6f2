//! Reading dynamic objects for validation. Absent, null and wrongly typed fields read alike: as
//! nothing, zero or empty, for structure is checked before.
//!
//! Every field is asked for by one of these functions. In tests they know the structure of what they read
//! (`structure`) and refuse a field that the structure does not have, or that is of another type than it is read as.

#[cfg(test)]
pub(crate) mod structure;

use api::Object;
use serde_json::{Map, Value};

/// Where tests learn that a field is read.
#[cfg(not(test))]
mod structure {
    use api::Object;
    use serde_json::Value;

    /// What a field is read as.
    #[derive(Clone, Copy)]
    pub(super) enum Type {
        Any,
        Text,
        Int,
        Flag,
        List,
        Map,
    }

    /// The value of an absent field.
    pub(super) fn absent(_value: &Value, _key: &str) -> &'static Value {
        &Value::Null
    }

    pub(super) fn absent_at_top(_object: &Object, _key: &str) -> &'static Value {
        &Value::Null
    }

    pub(super) fn is_read(_value: &Value, _key: &str, _as_type: Type) {}

    pub(super) fn is_read_at_top(_object: &Object, _key: &str) {}
}

use structure::Type;

/// A field as it is: also one that is null.
pub(super) fn raw<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    read(value, key, Type::Any)
}

/// A field that is there and not null.
pub(super) fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    raw(value, key).filter(|v| !v.is_null())
}

/// A field, or null in its place: to read inside what need not be there.
pub(super) fn of<'a>(value: &'a Value, key: &str) -> &'a Value {
    raw(value, key).unwrap_or_else(|| structure::absent(value, key))
}

/// The field at a path of names, as it is.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let (last, parents) = path.split_last()?;
    raw(parents.iter().fold(value, |value, key| of(value, key)), last)
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    read(value, key, Type::Text).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn int(value: &Value, key: &str) -> Option<i64> {
    read(value, key, Type::Int).and_then(Value::as_i64)
}

pub(super) fn flag(value: &Value, key: &str) -> bool {
    read(value, key, Type::Flag).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    read(value, key, Type::List).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn texts<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    list(value, key).iter().map(|v| v.as_str().unwrap_or(""))
}

pub(super) fn map<'a>(value: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    read(value, key, Type::Map).and_then(Value::as_object)
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

/// A field at the top of an object, as it is.
pub(super) fn top_raw<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    structure::is_read_at_top(object, key);
    object.0.get(key)
}

/// A field at the top of an object, or null in its place.
pub(super) fn top<'a>(object: &'a Object, key: &str) -> &'a Value {
    top_raw(object, key).unwrap_or_else(|| structure::absent_at_top(object, key))
}

fn read<'a>(value: &'a Value, key: &str, as_type: Type) -> Option<&'a Value> {
    structure::is_read(value, key, as_type);
    value.get(key)
}
