//! Objects made up from the kinds' structures: well formed, mostly nonsense. For property tests.

use api::Object;
use api::schema::{Shape, StructId, Types};
use serde_json::{Map, Value, json};

use crate::Resource;

/// Texts that mean something somewhere.
const TEXTS: [&str; 28] = [
    "",
    "a",
    "web-1",
    "Bad_Name",
    "a/b",
    "..",
    "é\u{0}",
    "Always",
    "Never",
    "OnFailure",
    "RollingUpdate",
    "Recreate",
    "ClusterFirst",
    "Default",
    "TCP",
    "UDP",
    "10.0.0.1",
    "::1",
    "10.0.0.0/8",
    "25%",
    "0%",
    "nginx:latest",
    "kubernetes.io/tls",
    "In",
    "Exists",
    "ClusterIP",
    "LoadBalancer",
    "ExternalName",
];
const NUMBERS: [i64; 8] = [0, 1, 2, 80, -1, 70_000, i32::MAX as i64, i32::MIN as i64];
const QUANTITIES: [&str; 7] = ["0", "1", "100m", "1Gi", "-1", "1500u", "9223372036854775807"];

/// Where the choices come from: bytes of a test case, zeros once they are used up.
pub(crate) struct Entropy<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Entropy<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(*self.bytes.next().unwrap_or(&0)) % bound
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn is_empty(&self) -> bool {
        self.bytes.len() == 0
    }
}

/// An object of a kind.
pub(crate) fn object(resource: &Resource, entropy: &mut Entropy<'_>) -> Object {
    let schema = &resource.schema;
    let mut fields = structure(schema.types(), schema.id(), entropy, 0);
    fields.insert("apiVersion".into(), resource.group_version().to_string().into());
    fields.insert("kind".into(), resource.kind.clone().into());
    Object(fields)
}

/// An object of a kind that has all there can be: each field, and one item in each list. A structure within itself is
/// left out.
pub(crate) fn whole(resource: &Resource, text: &str) -> Object {
    let schema = &resource.schema;
    let fields = whole_structure(schema.types(), schema.id(), text, &mut Vec::new());
    let mut object = Object(fields);
    object.set_type(&resource.gvk());
    object
}

fn whole_structure(
    types: &Types,
    id: StructId,
    text: &str,
    around: &mut Vec<StructId>,
) -> Map<String, Value> {
    around.push(id);
    let fields = types.get(id).fields.iter();
    let fields = fields
        .filter_map(|field| Some((field.name.to_string(), whole_value(types, &field.shape, text, around)?)));
    let fields = fields.collect();
    around.pop();
    fields
}

fn whole_value(types: &Types, shape: &Shape, text: &str, around: &mut Vec<StructId>) -> Option<Value> {
    Some(match shape {
        Shape::Struct(id) if around.contains(id) => return None,
        Shape::Struct(id) => whole_structure(types, *id, text, around).into(),
        Shape::List(list) => Value::Array(whole_value(types, &list.item, text, around).into_iter().collect()),
        Shape::Map(map) => Value::Object(
            whole_value(types, &map.value, text, around).map(|v| ("a".into(), v)).into_iter().collect(),
        ),
        Shape::String => text.into(),
        plain => value(types, plain, &mut Entropy::new(&[]), 0),
    })
}

fn structure(types: &Types, id: StructId, entropy: &mut Entropy<'_>, depth: usize) -> Map<String, Value> {
    let mut map = Map::new();
    for field in &types.get(id).fields {
        // The deeper, the emptier; nothing any more once the bytes are used up.
        if entropy.is_empty() || depth > 9 || (depth > 3 && entropy.below(3) == 0) {
            continue;
        }
        map.insert(field.name.to_string(), value(types, &field.shape, entropy, depth + 1));
    }
    map
}

fn value(types: &Types, shape: &Shape, entropy: &mut Entropy<'_>, depth: usize) -> Value {
    match shape {
        Shape::Bool => (entropy.below(2) == 0).into(),
        Shape::Int32 | Shape::Int64 => entropy.pick(&NUMBERS).into(),
        Shape::Float => 1.5.into(),
        Shape::String => entropy.pick(&TEXTS).into(),
        Shape::Bytes => "aGVsbG8=".into(),
        Shape::IntOrString if entropy.below(2) == 0 => entropy.pick(&NUMBERS).into(),
        Shape::IntOrString => entropy.pick(&TEXTS).into(),
        Shape::Quantity => entropy.pick(&QUANTITIES).into(),
        Shape::Time | Shape::MicroTime => "2026-01-02T03:04:05Z".into(),
        Shape::Duration => "5m0s".into(),
        Shape::Any => json!({"x": [1]}),
        Shape::Struct(id) => structure(types, *id, entropy, depth).into(),
        Shape::List(list) => {
            (0..entropy.below(3)).map(|_| value(types, &list.item, entropy, depth)).collect()
        }
        Shape::Map(map) => {
            let entries = (0..entropy.below(3)).map(|_| entropy.pick(&TEXTS).to_owned()).collect::<Vec<_>>();
            let entries = entries.into_iter().map(|k| (k, value(types, &map.value, entropy, depth)));
            Value::Object(entries.collect())
        }
    }
}
