//! The schemas of custom kinds in documents: what the definition says, with the fields that all objects have. Source:
//! upstream's `apiextensions-apiserver/pkg/controller/openapi/{builder,v2}`.

use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use crate::row::Resource;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const LIST_METADATA: &str = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The name of the schema of a custom kind's lists.
pub(super) fn list_name(row: &Resource) -> Option<String> {
    row.schema.custom()?;
    let name = &row.schema.structure().name;
    let (package, _) = name.rsplit_once('.')?;
    Some(format!("{package}.{}", row.list_kind))
}

/// The names of the schemas that those of custom kinds refer to.
pub(super) fn referred() -> [String; 2] {
    [format!("{META}.ObjectMeta"), format!("{META}.ListMeta")]
}

/// The schemas of a custom kind and of its lists, by name; none for a built-in kind.
pub(super) fn schemas(row: &Resource, dialect: Dialect) -> Vec<(String, Value)> {
    let (Some(custom), Some(list_name)) = (row.schema.custom(), list_name(row)) else { return Vec::new() };
    let name = row.schema.structure().name.to_string();
    // The definition's schema was read as JSON before.
    let mut object: Value = serde_json::from_str(&custom.published).unwrap_or_default();
    if !object.is_object() {
        object = json!({"type": "object"});
    }
    let keeps_all = object["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true);
    if dialect == Dialect::V2 && keeps_all {
        // Readers of version 2 take the named fields for all that there are.
        object = json!({"type": "object"});
    } else {
        if dialect == Dialect::V2 {
            older(&mut object);
        }
        with_fields_of_objects(&mut object, dialect);
    }
    object["x-kubernetes-group-version-kind"] = gvk(row, &row.kind);
    if !row.selectable_fields.is_empty() {
        let fields = row.selectable_fields.iter().map(|field| json!({"fieldPath": field.name}));
        object["x-kubernetes-selectable-fields"] = fields.collect();
    }
    let items = json!({
        "description": format!("List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", row.plural),
        "type": "array", "items": reference(&name, "", dialect),
    });
    let list = json!({
        "description": format!("{} is a list of {}", row.list_kind, row.kind),
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"description": API_VERSION, "type": "string"}, "items": items,
            "kind": {"description": KIND, "type": "string"},
            "metadata": reference(&format!("{META}.ListMeta"), LIST_METADATA, dialect),
        },
        "x-kubernetes-group-version-kind": gvk(row, &row.list_kind),
    });
    vec![(name, object), (list_name, list)]
}

fn gvk(row: &Resource, kind: &str) -> Value {
    json!([{"group": row.group, "kind": kind, "version": row.version}])
}

fn reference(name: &str, description: &str, dialect: Dialect) -> Value {
    let mut schema = match dialect {
        Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        Dialect::V3 => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}),
    };
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    schema
}

/// Names the fields that every whole object has.
fn with_fields_of_objects(schema: &mut Value, dialect: Dialect) {
    let Some(fields) = schema.as_object_mut() else { return };
    // What has no fields of its own and keeps what it does not know says nothing of the others either.
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    properties.insert("apiVersion".to_owned(), json!({"description": API_VERSION, "type": "string"}));
    properties.insert("kind".to_owned(), json!({"description": KIND, "type": "string"}));
    properties.insert("metadata".to_owned(), reference(&format!("{META}.ObjectMeta"), METADATA, dialect));
}

/// Takes from a schema what version 2 has no words for, or what its readers take amiss.
fn older(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let is = |map: &Map<String, Value>, key: &str| map.get(key) == Some(&Value::Bool(true));
    for key in ["default", "oneOf", "anyOf", "allOf", "not"] {
        map.remove(key);
    }
    if is(map, "x-kubernetes-preserve-unknown-fields") {
        // kubectl would refuse fields that are not named.
        map.remove("items");
        map.remove("properties");
    }
    if is(map, "nullable") {
        for key in ["nullable", "type", "items", "properties", "additionalProperties"] {
            map.remove(key);
        }
    }
    if is(map, "x-kubernetes-int-or-string") {
        map.remove("type");
    }
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(older);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            older(inner);
        }
    }
}
