//! What upstream's types leave out when they are written (`omitempty`): empty lists and maps, and plain
//! booleans that are not set. And what they write all the same: the zeros that the types know.

use serde_json::{Map, Value};

use super::zero::zero_says_something;
use crate::Object;
use crate::schema::{Field, Shape, StructId, Types};

/// Takes away the lists and maps of `object` that are empty and not required, and what is `false` where
/// that is nothing else than absent. Not for objects whose schema is their own (custom resources): those
/// are kept as they were sent.
pub fn omit_empty(types: &Types, id: StructId, object: &mut Object) {
    structure(types, id, &mut object.0);
}

fn structure(types: &Types, id: StructId, map: &mut Map<String, Value>) {
    let owner = types.get(id);
    let mut any_empty = false;
    for (key, value) in &mut *map {
        if let Some(field) = owner.field(key) {
            any_empty |= is_empty(field, value);
            within(types, &field.shape, value);
        }
    }
    if any_empty {
        map.retain(|key, value| owner.field(key).is_none_or(|f| f.required || !is_empty(f, value)));
    }
}

fn within(types: &Types, shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Struct(id), Value::Object(map)) => structure(types, *id, map),
        (Shape::List(list), Value::Array(items)) if holds_structures(&list.item) => {
            items.iter_mut().for_each(|item| within(types, &list.item, item));
        }
        (Shape::Map(of), Value::Object(map)) if holds_structures(&of.value) => {
            map.values_mut().for_each(|item| within(types, &of.value, item));
        }
        _ => {}
    }
}

/// Adds the fields that upstream's types write even where an object lacks them, with their zeros. What is added is
/// what decoding takes for absent, so that an object that comes back is the same.
pub fn write_zeros(types: &Types, id: StructId, object: &mut Object) {
    zeros_of_structure(types, id, &mut object.0);
}

fn zeros_of_structure(types: &Types, id: StructId, map: &mut Map<String, Value>) {
    let owner = types.get(id);
    for (key, value) in &mut *map {
        if (value.is_object() || value.is_array())
            && let Some(field) = owner.field(key)
        {
            zeros_within(types, &field.shape, value);
        }
    }
    for (name, zero) in types.zeros(id) {
        if !map.contains_key(&**name) {
            map.insert(name.to_string(), zero.clone());
        }
    }
}

fn zeros_within(types: &Types, shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Struct(id), Value::Object(map)) => zeros_of_structure(types, *id, map),
        (Shape::List(list), Value::Array(items)) if holds_structures(&list.item) => {
            items.iter_mut().for_each(|item| zeros_within(types, &list.item, item));
        }
        (Shape::Map(of), Value::Object(map)) if holds_structures(&of.value) => {
            map.values_mut().for_each(|item| zeros_within(types, &of.value, item));
        }
        _ => {}
    }
}

fn holds_structures(shape: &Shape) -> bool {
    match shape {
        Shape::Struct(_) => true,
        Shape::List(list) => holds_structures(&list.item),
        Shape::Map(of) => holds_structures(&of.value),
        _ => false,
    }
}

fn is_empty(field: &Field, value: &Value) -> bool {
    match (&field.shape, value) {
        (Shape::List(_), Value::Array(items)) => items.is_empty(),
        (Shape::Map(_), Value::Object(entries)) => entries.is_empty(),
        (Shape::Bool, Value::Bool(false)) => !zero_says_something(&field.name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::sample;

    #[test]
    fn what_is_empty_or_false_goes_and_empty_structures_stay() {
        let (types, pod) = sample::types();
        let sent = json!({
            "metadata": {"labels": {}, "annotations": {"a": ""}, "finalizers": []},
            "spec": {"nodeSelector": {}, "nodeName": "", "hostNetwork": false,
                "containers": [{"name": "a", "args": [], "tty": true, "resources": {}}]},
            "extra": {"kept": []}, "data": {},
        });
        let mut object = Object::from_value(sent).expect("an object");
        omit_empty(&types, pod, &mut object);
        let kept = json!({
            "metadata": {"annotations": {"a": ""}},
            "spec": {"nodeName": "", "containers": [{"name": "a", "tty": true, "resources": {}}]},
            "extra": {"kept": []},
        });
        assert_eq!(object.into_value(), kept);
    }
}
