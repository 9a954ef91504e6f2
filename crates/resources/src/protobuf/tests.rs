//! What is written in protobuf is read again as the same JSON, of every kind.

use api::Object;
use api::codec::protobuf::decode;
use api::codec::{Limits, structure};
use api::schema::{Shape, StructId, Types};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::arbitrary::{self, Entropy};
use crate::{Resource, builtin};

fn rows() -> Vec<&'static Resource> {
    builtin().rows().map(|row| &**row).filter(|row| row.in_protobuf()).collect()
}

/// The object after a way there and back.
fn read_again(row: &Resource, object: &Object) -> Value {
    let bytes =
        super::object(&object.clone().into_value()).unwrap_or_else(|why| panic!("{}: {why}", row.kind));
    let schema = &row.schema;
    let messages = schema.messages().expect("the kind has messages");
    let limits = Limits { bytes: bytes.len(), ..Limits::default() };
    let read = decode(schema.types(), messages, schema.id(), &bytes, &limits);
    read.unwrap_or_else(|error| panic!("{}: {}", row.kind, error.message)).into_value()
}

/// Without what says nothing in protobuf: what is empty or the zero of its type.
fn telling(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, telling(value)))
            .filter(|(_, value)| !is_nothing(value))
            .collect(),
        Value::Array(items) => items.into_iter().map(telling).collect(),
        plain => plain,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    }
}

/// The paths where two values differ.
fn differences(one: &Value, other: &Value, path: &str, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let [a, b] = [a, b].map(|fields| fields.get(key).unwrap_or(&Value::Null));
                differences(a, b, &format!("{path}.{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| differences(a, b, &format!("{path}[]"), found));
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: {} -> {}", short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// A structure with all its fields, none of which is the zero of its type.
fn full(types: &Types, id: StructId, around: &mut Vec<StructId>) -> Map<String, Value> {
    around.push(id);
    let structure = types.get(id);
    let mut map = Map::new();
    for field in &structure.fields {
        let value = match &*field.name {
            "items" if field.shape == Shape::Any => json!([{"type": "a"}, {"format": "b"}]),
            "additionalProperties" if field.shape == Shape::Any => json!({"type": "a"}),
            "additionalItems" if field.shape == Shape::Any => true.into(),
            "dependencies" => json!({"a": ["b", "c"], "d": {"type": "e"}}),
            _ => match full_value(types, &field.shape, around) {
                Some(value) => value,
                None => continue,
            },
        };
        map.insert(field.name.to_string(), value);
    }
    around.pop();
    map
}

fn full_value(types: &Types, shape: &Shape, around: &mut Vec<StructId>) -> Option<Value> {
    Some(match shape {
        Shape::Struct(id) if around.contains(id) => return None,
        Shape::Struct(id) => full(types, *id, around).into(),
        Shape::List(list) => vec![full_value(types, &list.item, around)?].into(),
        Shape::Map(of) => {
            json!({"k/a": full_value(types, &of.value, around)?, "b": full_value(types, &of.value, around)?})
        }
        Shape::Bool => true.into(),
        Shape::Int32 => (-7).into(),
        Shape::Int64 => 9_007_199_254_740_993_i64.into(),
        Shape::Float => 2.5.into(),
        Shape::String => "é x".into(),
        Shape::Bytes => "AP8Q".into(),
        Shape::IntOrString => "25%".into(),
        Shape::Quantity => "100m".into(),
        Shape::Time => "1969-12-31T23:59:58Z".into(),
        Shape::MicroTime => "2026-01-02T03:04:05.000006Z".into(),
        Shape::Duration => "30s".into(),
        Shape::Any => json!({"x": [1, null, {}]}),
    })
}

/// Fields of alpha features of which the numbers are not known, and what is not written upstream either: the kinds of
/// objects within objects.
const LEFT_OUT: [&str; 9] = [
    ".schedulingGroup",
    ".volumeStatus",
    ".allocatedResourcesStatus[].resources[].message",
    ".nodeAllocatableResourceClaimStatuses",
    ".nodeAllocatableResourceMappings",
    ".bools",
    ".ints",
    ".strings",
    ".versions",
];

/// Takes away what is left out, wherever it stands: what holds nothing else says nothing either.
fn leave_out(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_kept = |name: &String| !LEFT_OUT.iter().any(|end| end[1..] == **name);
            fields.retain(|name, _| is_kept(name));
            fields.values_mut().for_each(leave_out);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out),
        _ => {}
    }
}

fn is_left_out(difference: &str) -> bool {
    let path = difference.split_once(": ").map_or("", |(path, _)| path);
    let of_template = path.contains(".volumeClaimTemplates[].");
    LEFT_OUT.iter().any(|end| path.ends_with(end))
        || of_template && [".apiVersion", ".kind"].iter().any(|end| path.ends_with(end))
}

#[test]
fn no_field_of_any_kind_is_lost() {
    let rows = rows();
    assert!(rows.len() > 60, "{}", rows.len());
    let mut lost = Vec::new();
    for row in rows {
        let mut object = Object(full(row.schema.types(), row.schema.id(), &mut Vec::new()));
        object.set_type(&row.gvk());
        let read = read_again(row, &object);
        differences(&object.into_value(), &read, &row.kind, &mut lost);
    }
    lost.retain(|line| !is_left_out(line));
    assert_eq!(lost, [""; 0]);
}

#[test]
fn kinds_without_a_message_are_few() {
    let without = builtin().rows().filter(|row| !row.in_protobuf() && !row.verbs.is_empty());
    let mut without: Vec<String> = without.map(|row| row.gvk().to_string()).collect();
    without.sort_unstable();
    without.dedup();
    // Versions that upstream does not serve any more.
    assert_eq!(without, ["batch/v1beta1, Kind=CronJob", "policy/v1beta1, Kind=PodDisruptionBudget"]);
}

#[test]
fn zeros_that_say_something_are_kept() {
    let row = builtin().find("apps", "v1", "deployments").expect("a row");
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 0, "paused": true, "selector": {}, "template": {"metadata": {}, "spec": {"containers": [],
            "securityContext": {"runAsUser": 0}, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0}}}});
    let read = read_again(row, &Object::from_value(object).expect("an object"));
    let pod = &read["spec"]["template"]["spec"];
    assert_eq!((&read["spec"]["replicas"], &pod["securityContext"]["runAsUser"]), (&json!(0), &json!(0)));
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["terminationGracePeriodSeconds"], 0);
}

#[test]
fn answers_that_are_no_rows_objects_are_written_too() {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no",
        "reason": "NotFound", "details": {"name": "a", "causes": [{"message": "why"}], "retryAfterSeconds": 3}, "code": 404});
    let schema = schema_of_kind(&GroupVersionKind::new("", "v1", "Status")).expect("a structure");
    let bytes = object(&status).expect("written");
    let messages = schema.messages().expect("messages");
    let read = decode(schema.types(), messages, schema.id(), &bytes, &Limits::default()).expect("read");
    assert_eq!(read.into_value(), status);
    // A list of metadata: the items' only field has the number 1.
    let metadata = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]});
    let bytes = object(&metadata).expect("written");
    let item = |name: u8| [0x12, 5, 0x0a, 3, 0x0a, 1, name];
    let message = [&[0x0a, 3, 0x12, 1, b'7'][..], &item(b'a'), &item(b'b')].concat();
    assert!(bytes.windows(message.len()).any(|part| part == message), "{bytes:?}");
    assert!(
        object(&json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1"}))
            .unwrap_err()
            .contains("has no message")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_object_is_read_as_it_was_written(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for row in rows() {
            let mut object = arbitrary::object(row, &mut Entropy::new(&bytes));
            if structure::check(row.schema.types(), row.schema.id(), &mut object).is_err() {
                continue;
            }
            row.schema.omit_empty(&mut object);
            // Free JSON stands where a definition's schema has one of several forms.
            if &*row.kind == "CustomResourceDefinition" {
                continue;
            }
            let read = read_again(row, &object);
            let mut found = Vec::new();
            let mut written = object.into_value();
            leave_out(&mut written);
            differences(&telling(written), &telling(read), &row.kind, &mut found);
            found.retain(|line| !is_left_out(line));
            prop_assert_eq!(found, Vec::<String>::new());
        }
    }
}
