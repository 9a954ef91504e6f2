//! The structure of the objects that a test has validated: where each value of the objects is in memory, and what
//! shape the schema gives to the value. A field that the schema lacks fails the test that reads the field.
//!
//! Start with [`Known::of`]. Values that validation makes itself (copies) are not known, and read as they are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use api::Object;
use api::schema::{Shape, StructId, Types};
use serde_json::Value;

use crate::Schema;

/// What a field is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Text,
    Int,
    Flag,
    List,
    Map,
}

impl Type {
    fn fits(self, shape: &Shape) -> bool {
        match (self, shape) {
            (Self::Any, _) | (_, Shape::Any) => true,
            (Self::Text, shape) => !matches!(
                shape,
                Shape::Bool
                    | Shape::Int32
                    | Shape::Int64
                    | Shape::Float
                    | Shape::Struct(_)
                    | Shape::List(_)
                    | Shape::Map(_)
            ),
            (Self::Int, shape) => matches!(shape, Shape::Int32 | Shape::Int64 | Shape::IntOrString),
            (Self::Flag, shape) => *shape == Shape::Bool,
            (Self::List, shape) => matches!(shape, Shape::List(_)),
            (Self::Map, shape) => matches!(shape, Shape::Map(_)),
        }
    }
}

/// A place in memory.
type Place = usize;

fn place<T>(thing: &T) -> Place {
    std::ptr::from_ref(thing).addr()
}

#[derive(Default)]
struct Structures {
    shapes: HashMap<Place, (Arc<Types>, Shape)>,
    /// The value of an absent structure: one null for each structure, registered like any value.
    nulls: HashMap<(Place, StructId), &'static Value>,
}

thread_local! {
    static STRUCTURES: RefCell<Structures> = RefCell::default();
}

/// The structure of an object is known as long as this lives.
#[must_use]
pub(crate) struct Known<'a> {
    places: Vec<Place>,
    /// The object stays where it is.
    object: PhantomData<&'a Object>,
}

impl<'a> Known<'a> {
    pub(crate) fn of(object: &'a Object, schema: &Schema) -> Self {
        let mut known = Self { places: Vec::new(), object: PhantomData };
        let types = schema.shared_types();
        known.add(place(object), types, &Shape::Struct(schema.id()));
        for field in &schema.structure().fields {
            if let Some(value) = object.0.get(&*field.name) {
                known.learn(value, types, &field.shape);
            }
        }
        known
    }

    fn add(&mut self, place: Place, types: &Arc<Types>, shape: &Shape) {
        self.places.push(place);
        STRUCTURES.with_borrow_mut(|s| s.shapes.insert(place, (Arc::clone(types), shape.clone())));
    }

    fn learn(&mut self, value: &Value, types: &Arc<Types>, shape: &Shape) {
        self.add(place(value), types, shape);
        match (value, shape) {
            (Value::Object(fields), Shape::Struct(id)) => {
                for (name, value) in fields {
                    if let Some(field) = types.get(*id).field(name) {
                        self.learn(value, types, &field.shape);
                    }
                }
            }
            (Value::Object(entries), Shape::Map(map)) => {
                entries.values().for_each(|value| self.learn(value, types, &map.value));
            }
            (Value::Array(items), Shape::List(list)) => {
                items.iter().for_each(|item| self.learn(item, types, &list.item));
            }
            _ => {}
        }
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        STRUCTURES.with_borrow_mut(|s| {
            for place in &self.places {
                s.shapes.remove(place);
            }
        });
    }
}

/// The shape of a field of what is at a place; `None` where nothing is known.
fn shape_of(place: Place, key: &str) -> Option<(Arc<Types>, Shape)> {
    let (types, shape) = STRUCTURES.with_borrow(|s| s.shapes.get(&place).cloned())?;
    let inner = match &shape {
        Shape::Any => return None,
        Shape::Map(map) => map.value.clone(),
        Shape::Struct(id) => {
            let structure = types.get(*id);
            match structure.field(key) {
                Some(field) => field.shape.clone(),
                None if structure.preserve_unknown => return None,
                None => panic!("{} has no field {key}", structure.name),
            }
        }
        other => panic!("{key} is read from a {other:?}"),
    };
    Some((types, inner))
}

pub(super) fn is_read(value: &Value, key: &str, as_type: Type) {
    if let Some((_, shape)) = shape_of(place(value), key) {
        assert!(as_type.fits(&shape), "{key}, a {shape:?}, is read as {as_type:?}");
    }
}

pub(super) fn is_read_at_top(object: &Object, key: &str) {
    let _shape = shape_of(place(object), key);
}

pub(super) fn absent(value: &Value, key: &str) -> &'static Value {
    null(shape_of(place(value), key))
}

pub(super) fn absent_at_top(object: &Object, key: &str) -> &'static Value {
    null(shape_of(place(object), key))
}

fn null(shape: Option<(Arc<Types>, Shape)>) -> &'static Value {
    let Some((types, Shape::Struct(id))) = shape else { return &Value::Null };
    STRUCTURES.with_borrow_mut(|s| {
        *s.nulls.entry((place(&*types), id)).or_insert_with(|| {
            let null: &'static Value = Box::leak(Box::new(Value::Null));
            s.shapes.insert(place(null), (types, Shape::Struct(id)));
            null
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{flag, int, list, of, text, top};
    use super::*;

    fn pod() -> (Object, Schema) {
        let pod = json!({"spec": {"containers": [{"name": "a"}], "nodeSelector": {"a": "b"}}});
        let row = crate::builtin().find("", "v1", "pods").expect("served");
        (Object::from_value(pod).expect("an object"), row.schema.clone())
    }

    #[test]
    fn fields_of_the_structure_are_read_whether_given_or_not() {
        let (pod, schema) = pod();
        let _known = Known::of(&pod, &schema);
        let spec = top(&pod, "spec");
        assert_eq!((text(spec, "nodeName"), flag(spec, "hostNetwork")), ("", false));
        assert_eq!(text(&list(spec, "containers")[0], "name"), "a");
        assert_eq!(text(of(spec, "nodeSelector"), "a"), "b");
        assert_eq!(int(of(spec, "securityContext"), "runAsUser"), None);
    }

    #[test]
    #[should_panic(expected = "io.k8s.api.core.v1.PodSpec has no field nodename")]
    fn a_misspelt_field_fails() {
        let (pod, schema) = pod();
        let _known = Known::of(&pod, &schema);
        text(top(&pod, "spec"), "nodename");
    }

    #[test]
    #[should_panic(expected = "io.k8s.api.core.v1.PodSecurityContext has no field runAs")]
    fn a_misspelt_field_of_what_is_absent_fails() {
        let (pod, schema) = pod();
        let _known = Known::of(&pod, &schema);
        int(of(top(&pod, "spec"), "securityContext"), "runAs");
    }

    #[test]
    #[should_panic(expected = "is read as Int")]
    fn a_field_read_as_another_type_fails() {
        let (pod, schema) = pod();
        let _known = Known::of(&pod, &schema);
        int(top(&pod, "spec"), "nodeName");
    }

    #[test]
    fn an_object_without_a_known_structure_is_read_as_it_is() {
        let (pod, schema) = pod();
        drop(Known::of(&pod, &schema));
        assert_eq!(text(top(&pod, "spec"), "nodename"), "");
    }
}
