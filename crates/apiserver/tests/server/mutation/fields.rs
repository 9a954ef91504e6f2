//! Every field of a structure, and how to set one deep inside an object.

use api::schema::{Shape, StructId, Types};
use serde_json::{Map, Value, json};

/// One step down from an object.
#[derive(Debug, Clone)]
pub enum Step {
    Field(String),
    /// The first item of a list.
    Item,
    /// An entry of a map.
    Entry,
}

/// The key that stands for all of a map.
pub const KEY: &str = "key";

/// A field, with the shapes on the way.
#[derive(Debug, Clone)]
pub struct Place {
    /// Each step with the shape of what it leads to.
    steps: Vec<(Step, Shape)>,
    /// The structure whose field the last step is.
    owner: Option<StructId>,
}

/// All fields of a structure and of what it holds. A structure inside itself is not entered again.
pub fn all(types: &Types, id: StructId) -> Vec<Place> {
    let mut places = Vec::new();
    enter(types, &Shape::Struct(id), &mut Vec::new(), &mut Vec::new(), &mut places);
    places
}

fn enter(
    types: &Types,
    shape: &Shape,
    inside: &mut Vec<StructId>,
    steps: &mut Vec<(Step, Shape)>,
    places: &mut Vec<Place>,
) {
    let owner = if let Shape::Struct(id) = shape { Some(*id) } else { None };
    let mut go = |step: Step, shape: &Shape, inside: &mut Vec<StructId>| {
        steps.push((step, shape.clone()));
        places.push(Place { steps: steps.clone(), owner });
        enter(types, shape, inside, steps, places);
        steps.pop();
    };
    match shape {
        Shape::Struct(id) if !inside.contains(id) => {
            inside.push(*id);
            for field in &types.get(*id).fields {
                go(Step::Field(field.name.to_string()), &field.shape, inside);
            }
            inside.pop();
        }
        Shape::List(list) => go(Step::Item, &list.item, inside),
        Shape::Map(map) => go(Step::Entry, &map.value, inside),
        _ => {}
    }
}

impl Place {
    pub fn shape(&self) -> &Shape {
        &self.steps.last().expect("a place has a step").1
    }

    /// The structure and its field; `None` for items and entries.
    pub fn owner(&self) -> Option<(StructId, String)> {
        match (self.owner, &self.steps.last()?.0) {
            (Some(owner), Step::Field(name)) => Some((owner, name.clone())),
            _ => None,
        }
    }

    /// The first field, under which the rest is.
    pub fn top(&self) -> &str {
        match &self.steps[0].0 {
            Step::Field(name) => name,
            Step::Item | Step::Entry => unreachable!("an object has fields"),
        }
    }

    /// Sets the value, making what is missing on the way.
    pub fn set(&self, types: &Types, object: &mut Value, value: Value) {
        let mut at = object;
        for (step, shape) in &self.steps {
            at = match step {
                Step::Field(name) => child(at, name),
                Step::Entry => child(at, KEY),
                Step::Item => item(at),
            };
            if at.is_null() {
                *at = plausible(types, shape, 0);
            }
        }
        *at = value;
    }

    /// An object of the steps alone around the value.
    pub fn around(&self, value: Value) -> Value {
        self.steps.iter().rev().fold(value, |inner, (step, _)| match step {
            Step::Field(name) => json!({ name: inner }),
            Step::Entry => json!({ KEY: inner }),
            Step::Item => json!([inner]),
        })
    }

    /// As in JSON patches (RFC 6901).
    pub fn pointer(&self) -> String {
        let part = |step: &Step| match step {
            Step::Field(name) => name.replace('~', "~0").replace('/', "~1"),
            Step::Entry => KEY.to_owned(),
            Step::Item => "0".to_owned(),
        };
        self.steps.iter().map(|(step, _)| format!("/{}", part(step))).collect()
    }
}

fn child<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made one").entry(key).or_insert(Value::Null)
}

fn item(value: &mut Value) -> &mut Value {
    if value.as_array().is_none_or(Vec::is_empty) {
        *value = json!([null]);
    }
    &mut value[0]
}

/// A value of the shape, with the fields it must have.
pub fn plausible(types: &Types, shape: &Shape, depth: usize) -> Value {
    match shape {
        Shape::Bool => true.into(),
        Shape::Int32 | Shape::Int64 | Shape::IntOrString => 1.into(),
        Shape::Float => 1.5.into(),
        Shape::String => "a".into(),
        Shape::Bytes => "YQ==".into(),
        Shape::Quantity => "1".into(),
        Shape::Time => "2026-01-02T03:04:05Z".into(),
        Shape::MicroTime => "2026-01-02T03:04:05.000000Z".into(),
        Shape::Duration => "5m0s".into(),
        Shape::Any => json!({"a": 1}),
        Shape::List(_) => json!([]),
        Shape::Map(_) => json!({}),
        Shape::Struct(_) if depth > 8 => json!({}),
        Shape::Struct(id) => {
            let required = types.get(*id).fields.iter().filter(|f| f.required);
            let fields = required.map(|f| (f.name.to_string(), plausible(types, &f.shape, depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}
