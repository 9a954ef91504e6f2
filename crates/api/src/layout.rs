//! [`Laid`]: the order of an object's members in JSON, which is that of upstream's Go types: kind, apiVersion,
//! metadata, then the rest. Clients' own tests compare texts.
//!
//! [`Typed`] writes an object whose structure is known, all its fields in order. [`Laid`] knows only what all objects
//! have: their type, their metadata, and what a Status, a list or a Table holds; the rest is in alphabetical order.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value};

use crate::schema::{Shape, StructId, Types};

const OBJECT: &[&str] = &["kind", "apiVersion", "metadata"];
const STATUS: &[&str] = &["kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"];
const STATUS_DETAILS: &[&str] = &["name", "group", "kind", "uid", "causes", "retryAfterSeconds"];
const STATUS_CAUSE: &[&str] = &["reason", "message", "field"];
const TABLE_COLUMN: &[&str] = &["name", "type", "format", "description", "priority"];
/// Members of `ObjectMeta` and `ListMeta` in one order, which is that of both.
const METADATA: [&str; 17] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "continue",
    "remainingItemCount",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// The members of an object's metadata that stand before its resource version.
pub const BEFORE_RESOURCE_VERSION: [&str; 5] = ["name", "generateName", "namespace", "selfLink", "uid"];

/// An object of a known structure.
#[derive(Clone, Copy)]
pub struct Typed<'a> {
    map: &'a Map<String, Value>,
    types: &'a Types,
    structure: StructId,
}

impl<'a> Typed<'a> {
    /// `structure` is one of `types`.
    pub fn new(object: &'a Map<String, Value>, types: &'a Types, structure: StructId) -> Self {
        Self { map: object, types, structure }
    }
}

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let structure = self.types.get(self.structure);
        let mut members: Vec<_> = self
            .map
            .iter()
            .map(|(key, value)| match structure.field(key) {
                Some(field) => (field.place, key, value, &field.shape),
                None => (u16::MAX, key, value, &Shape::Any),
            })
            .collect();
        // Stable: what is of one place stays in order of names.
        members.sort_by_key(|(place, ..)| *place);
        let mut out = serializer.serialize_map(Some(members.len()))?;
        for (_, key, value, shape) in members {
            out.serialize_entry(key, &Shaped { value, shape, types: self.types })?;
        }
        out.end()
    }
}

/// A value of a known shape.
struct Shaped<'a> {
    value: &'a Value,
    shape: &'a Shape,
    types: &'a Types,
}

impl Serialize for Shaped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let types = self.types;
        match (self.shape, self.value) {
            (Shape::Struct(structure), Value::Object(map)) => {
                Typed { map, types, structure: *structure }.serialize(serializer)
            }
            (Shape::List(list), Value::Array(items)) => {
                serializer.collect_seq(items.iter().map(|value| Shaped { value, shape: &list.item, types }))
            }
            (Shape::Map(map), Value::Object(values)) => {
                let entry = |(key, value)| (key, Shaped { value, shape: &map.value, types });
                serializer.collect_map(values.iter().map(entry))
            }
            (_, value) => value.serialize(serializer),
        }
    }
}

/// A JSON value whose members are written in upstream's order, where it is an object of the API.
#[derive(Clone, Copy)]
pub struct Laid<'a>(pub &'a Value);

impl Serialize for Laid<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(map) = self.0 else { return self.0.serialize(serializer) };
        match map.get("kind").and_then(Value::as_str) {
            Some("Status") => write(serializer, map, STATUS, Below::Status),
            Some("Table") => write(serializer, map, OBJECT, Below::Table),
            Some(_) => write(serializer, map, OBJECT, Below::Object),
            None => map.serialize(serializer),
        }
    }
}

/// Writes an object: the type and the metadata in order, the rest as it is. This is what every write of an object
/// goes through, so it does no more than that.
pub(crate) fn object<S: Serializer>(serializer: S, map: &Map<String, Value>) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_map(Some(map.len()))?;
    for key in OBJECT {
        match map.get(*key) {
            Some(Value::Object(metadata)) if *key == "metadata" => {
                out.serialize_entry(key, &Metadata(metadata))?;
            }
            Some(value) => out.serialize_entry(key, value)?,
            None => {}
        }
    }
    for (key, value) in map.iter().filter(|(key, _)| !OBJECT.contains(&key.as_str())) {
        out.serialize_entry(key, value)?;
    }
    out.end()
}

/// What a map's members may hold that has an order too.
#[derive(Clone, Copy)]
enum Below {
    Object,
    Status,
    StatusDetails,
    Table,
    Nothing,
}

fn write<S: Serializer>(
    serializer: S,
    map: &Map<String, Value>,
    first: &[&str],
    below: Below,
) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_map(Some(map.len()))?;
    let leading = first.iter().filter_map(|key| map.get_key_value(*key));
    let rest = map.iter().filter(|(key, _)| !first.contains(&key.as_str()));
    for (key, value) in leading.chain(rest) {
        match (below, key.as_str(), value) {
            (Below::Object | Below::Status | Below::Table, "metadata", Value::Object(metadata)) => {
                out.serialize_entry(key, &Metadata(metadata))?;
            }
            (Below::Status, "details", Value::Object(details)) => {
                out.serialize_entry(key, &Ordered(details, STATUS_DETAILS, Below::StatusDetails))?;
            }
            (Below::StatusDetails, "causes", Value::Array(causes)) => {
                out.serialize_entry(key, &Each(causes, Item::Ordered(STATUS_CAUSE)))?;
            }
            (Below::Table, "columnDefinitions", Value::Array(columns)) => {
                out.serialize_entry(key, &Each(columns, Item::Ordered(TABLE_COLUMN)))?;
            }
            (Below::Table, "rows", Value::Array(rows)) => {
                out.serialize_entry(key, &Each(rows, Item::Row))?;
            }
            (Below::Object, "items", Value::Array(items)) => {
                out.serialize_entry(key, &Each(items, Item::Object))?;
            }
            _ => out.serialize_entry(key, value)?,
        }
    }
    out.end()
}

struct Ordered<'a>(&'a Map<String, Value>, &'static [&'static str], Below);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(serializer, self.0, self.1, self.2)
    }
}

/// What the items of a list are.
#[derive(Clone, Copy)]
enum Item {
    Object,
    /// A Table's: cells, conditions and the object.
    Row,
    Ordered(&'static [&'static str]),
}

struct Each<'a>(&'a [Value], Item);

impl Serialize for Each<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            match (self.1, item) {
                (Item::Object, _) => out.serialize_element(&Laid(item))?,
                (Item::Row, Value::Object(row)) => out.serialize_element(&Row(row))?,
                (Item::Ordered(first), Value::Object(map)) => {
                    out.serialize_element(&Ordered(map, first, Below::Nothing))?;
                }
                _ => out.serialize_element(item)?,
            }
        }
        out.end()
    }
}

struct Row<'a>(&'a Map<String, Value>);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            if key == "object" {
                out.serialize_entry(key, &Laid(value))?;
            } else {
                out.serialize_entry(key, value)?;
            }
        }
        out.end()
    }
}

struct Metadata<'a>(&'a Map<String, Value>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Each member goes to its place in one pass over the map, without looking any up.
        let mut places: [Option<&Value>; METADATA.len()] = [None; METADATA.len()];
        let mut unknown = false;
        for (key, value) in self.0 {
            match METADATA.iter().position(|known| known == key) {
                Some(place) => places[place] = Some(value),
                None => unknown = true,
            }
        }
        let mut out = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in METADATA.iter().zip(places) {
            if let Some(value) = value {
                out.serialize_entry(key, value)?;
            }
        }
        if unknown {
            for (key, value) in self.0.iter().filter(|(key, _)| !METADATA.contains(&key.as_str())) {
                out.serialize_entry(key, value)?;
            }
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Error, GroupKind, Object};

    fn text(value: &Value) -> String {
        serde_json::to_string(&Laid(value)).expect("JSON")
    }

    #[test]
    fn objects_begin_with_their_type_and_metadata() {
        let object = json!({
            "apiVersion": "v1", "data": {"b": "1", "a": "2"}, "kind": "ConfigMap", "binaryData": {},
            "metadata": {
                "annotations": {"z": "1"}, "creationTimestamp": "t", "labels": {}, "name": "n", "namespace": "ns",
                "odd": 1, "resourceVersion": "7", "uid": "u",
            },
        });
        let expect = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"n","namespace":"ns","uid":"u","resourceVersion":"7","creationTimestamp":"t","labels":{},"annotations":{"z":"1"},"odd":1},"binaryData":{},"data":{"a":"2","b":"1"}}"#;
        assert_eq!(text(&object), expect);
        let object = Object::from_value(object).expect("an object");
        assert_eq!(serde_json::to_string(&object).expect("JSON"), expect);
    }

    #[test]
    fn statuses_read_as_upstream_writes_them() {
        let list = vec![crate::field::FieldError::required(&crate::field::Path::root("spec"), "")];
        let error = Error::invalid(&GroupKind::new("apps", "Deployment"), "d", &list);
        assert_eq!(
            text(&error.to_status()),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Deployment.apps \"d\" is invalid: spec: Required value","reason":"Invalid","details":{"name":"d","group":"apps","kind":"Deployment","causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec"}]},"code":422}"#
        );
    }

    #[test]
    fn what_lists_and_tables_hold_has_the_same_order() {
        let item = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"uid": "u", "name": "p"}});
        let shown = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","uid":"u"}}"#;
        let list = json!({
            "kind": "PodList", "apiVersion": "v1", "items": [item],
            "metadata": {"continue": "c", "remainingItemCount": 3, "resourceVersion": "9"},
        });
        assert_eq!(
            text(&list),
            format!(
                r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"9","continue":"c","remainingItemCount":3}},"items":[{shown}]}}"#
            )
        );
        let table = json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
            "columnDefinitions": [{"description": "d", "format": "name", "name": "Name", "priority": 0, "type": "string"}],
            "rows": [{"cells": ["p"], "object": item}],
        });
        assert_eq!(
            text(&table),
            format!(
                r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{{}},"columnDefinitions":[{{"name":"Name","type":"string","format":"name","description":"d","priority":0}}],"rows":[{{"cells":["p"],"object":{shown}}}]}}"#
            )
        );
    }
}
