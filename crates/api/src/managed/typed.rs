//! What makes a configuration no value of its type: fields that the type does not have, and items of a list that
//! cannot be told apart. Upstream refuses both before it merges (`structured-merge-diff/typed/validate.go`).

use std::collections::HashSet;

use serde_json::Value;

use super::compare::{Parts, parts};
use super::element;
use crate::schema::{Shape, StructId, Types};
use crate::{Error, Object, Reason};

/// Refuses a configuration that is no value of its type.
///
/// # Errors
/// 500 without a reason, as upstream's, which names every fault with its path.
pub fn check(types: &Types, id: StructId, config: &Object) -> Result<(), Error> {
    // Scalars are judged by the decoder.
    let Some(faults) = faults(types, id, config, false) else { return Ok(()) };
    let (group_version, kind) = (config.api_version(), config.kind());
    let slash = if group_version.contains('/') { "" } else { "/" };
    Err(Error::new(
        Reason::Unknown,
        format!(
            "failed to create typed patch object ({}/{}; {slash}{group_version}, Kind={kind}): {faults}",
            config.namespace(),
            config.name()
        ),
    ))
}

/// Every fault of a configuration. `scalars`: whether values of the wrong type are faults too.
pub(super) fn faults(types: &Types, id: StructId, config: &Object, scalars: bool) -> Option<String> {
    let mut walk = Walk { types, scalars, path: String::new(), faults: Vec::new() };
    walk.fields(id, config.0.iter());
    match walk.faults.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        many => Some(format!("errors:\n  {}", many.join("\n  "))),
    }
}

struct Walk<'t> {
    types: &'t Types,
    scalars: bool,
    /// Of the value that is looked at, as upstream prints it.
    path: String,
    faults: Vec<String>,
}

impl Walk<'_> {
    fn fault(&mut self, what: &str) {
        self.faults.push(format!("{}: {what}", self.path));
    }

    /// Looks at a value below the present path.
    fn below(&mut self, element: &str, shape: Option<&Shape>, value: &Value) {
        let length = self.path.len();
        element::print(element, &mut self.path);
        match shape {
            Some(shape) => self.value(shape, value),
            None => self.fault("field not declared in schema"),
        }
        self.path.truncate(length);
    }

    fn fields<'v>(&mut self, id: StructId, fields: impl Iterator<Item = (&'v String, &'v Value)>) {
        let types = self.types;
        let structure = types.get(id);
        for (name, value) in fields {
            match structure.field(name) {
                None if structure.preserve_unknown => {}
                field => self.below(&element::field(name), field.map(|field| &field.shape), value),
            }
        }
    }

    fn value(&mut self, shape: &Shape, value: &Value) {
        match (shape, value) {
            (Shape::Struct(id), Value::Object(map)) => self.fields(*id, map.iter()),
            (Shape::Map(of), Value::Object(map)) => {
                for (key, value) in map {
                    self.below(&element::field(key), Some(&of.value), value);
                }
            }
            (Shape::List(list), Value::Array(items)) => {
                let told_apart = matches!(parts(self.types, Some(shape)), Parts::List(_));
                let mut seen = HashSet::new();
                for (i, item) in items.iter().enumerate() {
                    if told_apart && let Some(why) = element::keyless(&list.topology, item) {
                        self.fault(&format!("element {i}: {why}"));
                        continue;
                    }
                    let own = if told_apart { element::of_item(&list.topology, item) } else { None };
                    let element = own.unwrap_or_else(|| format!("i:{i}"));
                    if told_apart && !seen.insert(element.clone()) {
                        let mut printed = String::new();
                        element::print(&element, &mut printed);
                        self.fault(&format!("duplicate entries for key {printed}"));
                    }
                    self.below(&element, Some(&list.item), item);
                }
            }
            (_, Value::Null) => {}
            _ if self.scalars => {
                if let Some(what) = mismatch(shape, value) {
                    self.fault(&what);
                }
            }
            _ => {}
        }
    }
}

/// What is wrong with a value that is not of the shape, in upstream's words.
fn mismatch(shape: &Shape, value: &Value) -> Option<String> {
    let simple = !value.is_object() && !value.is_array();
    match shape {
        Shape::Struct(_) | Shape::Map(_) => Some(format!("expected map, got &{{{}}}", plain(value))),
        Shape::List(_) => Some(format!("expected list, got &{{{}}}", plain(value))),
        Shape::Bool if !value.is_boolean() => Some(format!("expected boolean, got &{{{}}}", plain(value))),
        Shape::Int32 | Shape::Int64 | Shape::Float if !value.is_number() => {
            Some(format!("expected numeric (int or float), got {}", go_type(value)))
        }
        Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime | Shape::Duration
            if !value.is_string() =>
        {
            let text = plain(value);
            Some(format!("expected string, got &value.valueUnstructured{{Value:{text}}}"))
        }
        Shape::Quantity | Shape::IntOrString if !simple => {
            Some(format!("expected any scalar, got {}", plain(value)))
        }
        _ => None,
    }
}

/// The type that Go has for a value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
