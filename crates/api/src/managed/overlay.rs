//! A configuration laid over an object for which nobody comes to own a field: what admission policies apply. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch/smd.go`.

use serde_json::{Map, Value};

use super::{element, merge, typed};
use crate::Object;
use crate::schema::{Shape, StructId, Topology, Types};

/// `live` with the values of `config`, merged as server-side apply does.
///
/// # Errors
/// When the configuration is no value of its type, or names a structure, map or list that is replaced as a whole: what
/// it does not name of these would be lost. In upstream's words.
pub fn overlay(types: &Types, id: StructId, live: &Object, config: Object) -> Result<Object, String> {
    if let Some(faults) = typed::faults(types, id, &config, true) {
        return Err(format!("failed to convert patch object to typed object: {faults}"));
    }
    let mut walk = Walk { types, path: String::new(), atomic: Vec::new() };
    walk.fields(id, &config.0);
    if !walk.atomic.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            walk.atomic.join(", ")
        ));
    }
    let mut merged = live.clone();
    merge::merge(types, id, &mut merged, config);
    Ok(merged)
}

/// Looks for what is replaced as a whole.
struct Walk<'t> {
    types: &'t Types,
    path: String,
    atomic: Vec<String>,
}

impl Walk<'_> {
    fn fields(&mut self, id: StructId, fields: &Map<String, Value>) {
        let types = self.types;
        for (name, value) in fields {
            if let Some(field) = types.get(id).field(name) {
                self.below(&element::field(name), &field.shape, value);
            }
        }
    }

    fn below(&mut self, element: &str, shape: &Shape, value: &Value) {
        let length = self.path.len();
        element::print(element, &mut self.path);
        self.value(shape, value);
        self.path.truncate(length);
    }

    fn value(&mut self, shape: &Shape, value: &Value) {
        let atomic = match (shape, value) {
            (Shape::Struct(id), Value::Object(_)) => self.types.get(*id).atomic,
            (Shape::Map(of), Value::Object(_)) => of.atomic,
            (Shape::List(list), Value::Array(_)) => list.topology == Topology::Atomic,
            (Shape::Any, value) => value.is_object() || value.is_array(),
            _ => return,
        };
        if atomic {
            self.atomic.push(self.path.clone());
        }
        match (shape, value) {
            (Shape::Struct(id), Value::Object(fields)) => self.fields(*id, fields),
            (Shape::List(list), Value::Array(items)) => {
                for (i, item) in items.iter().enumerate() {
                    self.below(&format!("i:{i}"), &list.item, item);
                }
            }
            _ => {}
        }
    }
}
