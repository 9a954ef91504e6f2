//! Elements of field paths, in their stored form: `f:NAME` a field, `k:{…}` an item by its keys,
//! `v:VALUE` an item by its value, `i:N` an item by its index.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::schema::Topology;

/// The keys of a list's items, with the value an absent one takes.
pub(super) type Keys = [(Box<str>, Option<Value>)];

pub(super) fn is_element(text: &str) -> bool {
    ["f:", "k:", "v:", "i:"].iter().any(|prefix| text.starts_with(prefix))
}

pub(super) fn field(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push_str("f:");
    out.push_str(name);
    out
}

/// The element of a list's item; `None` when the list is atomic or the item has none of the keys.
pub(super) fn of_item(topology: &Topology, item: &Value) -> Option<String> {
    match topology {
        Topology::Atomic => None,
        Topology::Set => match item {
            Value::Array(_) | Value::Object(_) => None,
            scalar => Some(format!("v:{scalar}")),
        },
        Topology::Map(keys) => by_keys(keys, item.as_object()?),
    }
}

/// Why an item of a list that is told apart by keys has none, in upstream's words.
pub(super) fn keyless(topology: &Topology, item: &Value) -> Option<String> {
    let Topology::Map(keys) = topology else { return None };
    let fields = match item {
        Value::Object(fields) => fields,
        Value::Null => return Some("associative list with keys may not have a null element".to_owned()),
        _ => return Some("associative list with keys may not have non-map elements".to_owned()),
    };
    let missing = keys.iter().find(|(key, default)| default.is_none() && !fields.contains_key(&**key));
    missing.map(|(key, _)| {
        format!(
            "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
        )
    })
}

fn by_keys(keys: &Keys, item: &Map<String, Value>) -> Option<String> {
    let mut found: Vec<(&str, &Value)> = Vec::with_capacity(keys.len());
    for (key, default) in keys {
        if let Some(value) = item.get(&**key).filter(|v| !v.is_null()).or(default.as_ref()) {
            found.push((key, value));
        }
    }
    if found.is_empty() {
        return None;
    }
    found.sort_unstable_by_key(|(key, _)| *key);
    let mut out = String::with_capacity(32);
    out.push_str("k:{");
    for (i, (key, value)) in found.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let written = write!(out, "{}:{value}", Value::String(key.to_owned()));
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    out.push('}');
    Some(out)
}

/// Appends an element as upstream prints it in paths: `.name`, `[key=value]`, `[=value]`, `[0]`.
pub(super) fn print(element: &str, out: &mut String) {
    let (kind, rest) = element.split_at_checked(2).unwrap_or(("", element));
    match kind {
        "f:" => {
            out.push('.');
            out.push_str(rest);
        }
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let mut pairs: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            pairs.sort_unstable();
            out.push('[');
            out.push_str(&pairs.join(","));
            out.push(']');
        }
        "v:" => {
            out.push_str("[=");
            out.push_str(rest);
            out.push(']');
        }
        _ => {
            out.push('[');
            out.push_str(rest);
            out.push(']');
        }
    }
}
