//! JSON schemas of structures, in the two dialects of OpenAPI.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::GroupVersionKind;
use api::schema::{Field, List, Shape, StructId, Topology, Types};
use serde_json::{Map, Value, json};

use super::custom;
use super::dialect::Dialect;
use crate::docs::Docs;
use crate::row::Resource;
use crate::schema_data::{self, GRANULAR};
use crate::table::KindTable;

/// Values that are schemas of their own: (shape, name, description).
const VALUES: [(&Shape, &str, &str); 4] = [
    (
        &Shape::IntOrString,
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        "IntOrString is a type that can hold an int32 or a string.",
    ),
    (
        &Shape::Quantity,
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        "Quantity is a fixed-point representation of a number, such as 100m, 1.5 or 64Mi.",
    ),
    (
        &Shape::Time,
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
        "Time is a date and time in RFC 3339, to the second.",
    ),
    (
        &Shape::MicroTime,
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        "MicroTime is a date and time in RFC 3339, to the microsecond.",
    ),
];

/// The body of a patch, which has no structure of its own.
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// Kinds of every group and version.
const EVERYWHERE: [(&str, &str); 2] = [
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "DeleteOptions"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent", "WatchEvent"),
];

/// The package whose free-form fields may hold any JSON value; elsewhere they hold objects.
const SCHEMA_OF_SCHEMAS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Makes the schemas of one set of types.
pub(super) struct Schemas<'a> {
    types: &'a Types,
    docs: &'a Docs,
    dialect: Dialect,
    /// The kinds a structure is.
    kinds: HashMap<StructId, Vec<Value>>,
    /// The schemas of a custom kind, which its definition has; of one, the types say nothing here.
    custom: Vec<(String, Value)>,
    /// Defaults of list map keys: (item's structure, key).
    key_defaults: HashMap<(StructId, &'a str), &'a Value>,
}

/// The sets of types that a table's rows refer to: that of the built-in kinds first.
pub(super) fn sets<'a>(rows: impl IntoIterator<Item = &'a Arc<Resource>>) -> Vec<&'a Arc<Types>> {
    let mut sets = vec![schema_data::builtin_types()];
    for row in rows {
        let types = row.schema.shared_types();
        if !sets.iter().any(|known| Arc::ptr_eq(known, types)) {
            sets.push(types);
        }
    }
    sets
}

/// The types of the built-in kinds, among which are those of documents that are about no kind.
pub(super) fn builtin() -> &'static Types {
    schema_data::builtin_types()
}

/// Whether the field holds the objects of a list kind.
fn is_objects(field: &Field, list: &List) -> bool {
    &*field.name == "items" && field.required && list.topology == Topology::Atomic
}

/// A set of types and those it extends.
fn with_bases(types: &Types) -> impl Iterator<Item = &Types> {
    std::iter::successors(Some(types), |types| types.base().map(|base| &**base))
}

impl<'a> Schemas<'a> {
    pub fn new(table: &KindTable, types: &'a Types, docs: &'a Docs, dialect: Dialect) -> Self {
        let mut kinds: HashMap<StructId, Vec<Value>> = HashMap::new();
        let mut add = |id: StructId, gvk: &GroupVersionKind| {
            let kind = json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind});
            kinds.entry(id).or_default().push(kind);
        };
        if with_bases(types).any(|set| std::ptr::eq(set, &**schema_data::builtin_types())) {
            schema_data::kinds().for_each(|(gvk, id)| add(id, gvk));
            // Versions that are other names of built-in kinds.
            let unnamed = table.rows().filter(|row| {
                std::ptr::eq(row.schema.types(), &**schema_data::builtin_types())
                    && schema_data::schema_of_kind(&row.gvk()).is_none()
            });
            for row in unnamed {
                add(row.schema.id(), &row.gvk());
                let types = row.schema.types();
                if let Some(list) = types.find(&format!("{}List", types.get(row.schema.id()).name)) {
                    add(list, &GroupVersionKind { kind: row.list_kind.to_string(), ..row.gvk() });
                }
            }
        }
        if !std::ptr::eq(types, &**schema_data::builtin_types()) {
            let own = table.rows().filter(|row| std::ptr::eq(row.schema.types(), types));
            own.for_each(|row| add(row.schema.id(), &row.gvk()));
        }
        for (name, kind) in EVERYWHERE {
            if let Some(id) = types.find(name) {
                let all = table.group_versions().iter();
                let all = all.map(|gv| json!({"group": gv.group, "version": gv.version, "kind": kind}));
                kinds.insert(id, all.collect());
            }
        }
        let own = table.rows().find(|row| std::ptr::eq(row.schema.types(), types));
        let custom = own.map(|row| custom::schemas(row, dialect)).unwrap_or_default();
        Self { types, docs, dialect, kinds, custom, key_defaults: key_defaults(types) }
    }

    /// All schemas by name, those of structures that the set of types only extends left out.
    pub fn all(&self) -> Map<String, Value> {
        if !self.custom.is_empty() {
            return self.custom.iter().cloned().collect();
        }
        let mut all: BTreeMap<String, Value> = self
            .types
            .iter()
            .filter(|(_, s)| !s.name.ends_with(GRANULAR))
            .map(|(id, s)| (s.name.to_string(), self.structure(id)))
            .collect();
        all.extend(VALUES.iter().map(|(_, name, _)| ((*name).to_owned(), self.value(name))));
        all.insert(PATCH.into(), self.value(PATCH));
        all.into_iter().collect()
    }

    /// The schemas named in `roots` and all they refer to.
    pub fn reachable(&self, roots: &[String]) -> Map<String, Value> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut queue: Vec<String> = roots.to_vec();
        queue.extend(EVERYWHERE.iter().map(|(name, _)| (*name).to_owned()));
        let mut found = BTreeMap::new();
        while let Some(name) = queue.pop() {
            if !names.insert(name.clone()) {
                continue;
            }
            if let Some((_, schema)) = self.custom.iter().find(|(custom, _)| *custom == name) {
                queue.extend(custom::referred());
                found.insert(name, schema.clone());
                continue;
            }
            match self.types.find(&name) {
                Some(id) => {
                    let fields = self.types.get(id).fields.iter();
                    queue.extend(fields.filter_map(|f| self.reference_of(&f.shape)));
                    found.insert(name, self.structure(id));
                }
                None => {
                    let value = self.value(&name);
                    found.insert(name, value);
                }
            }
        }
        found.into_iter().collect()
    }

    /// The name of the schema a shape (or its items, or its values) refers to.
    fn reference_of(&self, shape: &Shape) -> Option<String> {
        match shape {
            Shape::Struct(id) => Some(self.name(*id).to_owned()),
            Shape::List(list) => self.reference_of(&list.item),
            Shape::Map(map) => self.reference_of(&map.value),
            other => VALUES.iter().find(|(s, _, _)| *s == other).map(|(_, name, _)| (*name).to_owned()),
        }
    }

    fn name(&self, id: StructId) -> &'a str {
        self.types.get(id).name.trim_end_matches(GRANULAR)
    }

    fn value(&self, name: &str) -> Value {
        let found = VALUES.iter().find(|(_, n, _)| *n == name);
        let Some((shape, _, description)) = found else {
            return json!({"description": "Patch is a set of changes in the format its media type says.", "type": "object"});
        };
        let mut schema = match (shape, self.dialect) {
            (Shape::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
            (Shape::IntOrString, Dialect::V3) => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            (Shape::Quantity, Dialect::V2) => json!({"type": "string"}),
            (Shape::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            _ => json!({"type": "string", "format": "date-time"}),
        };
        schema["description"] = (*description).into();
        schema
    }

    fn structure(&self, id: StructId) -> Value {
        let structure = self.types.get(id);
        let mut schema = json!({"type": "object"});
        if let Some(description) = self.docs.structure(&structure.name) {
            schema["description"] = description.into();
        }
        if !structure.fields.is_empty() {
            let fields = structure.fields.iter();
            let properties: Map<String, Value> =
                fields.map(|f| (f.name.to_string(), self.property(id, f))).collect();
            schema["properties"] = properties.into();
        }
        let required: Vec<&str> = structure.fields.iter().filter(|f| f.required).map(|f| &*f.name).collect();
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if structure.atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Some(kinds) = self.kinds.get(&id) {
            schema["x-kubernetes-group-version-kind"] = kinds.clone().into();
        }
        schema
    }

    fn property(&self, id: StructId, field: &Field) -> Value {
        let name = &self.types.get(id).name;
        let mut schema = self.shape(&field.shape);
        if name.starts_with(SCHEMA_OF_SCHEMAS) {
            any_type(&mut schema);
        }
        let description = self.docs.field(name, &field.name).map(str::to_owned);
        if let Some(description) = description.or_else(|| common_description(field)) {
            schema["description"] = description.into();
        }
        self.merge_facts(field, &mut schema);
        if self.dialect == Dialect::V3
            && let Some(default) = self.key_defaults.get(&(id, &*field.name))
        {
            schema["default"] = (*default).clone();
        }
        schema
    }

    /// How lists and maps merge, in the extensions that clients read.
    fn merge_facts(&self, field: &Field, schema: &mut Value) {
        let mut strategies = Vec::new();
        match &field.shape {
            // The objects of a list are never merged; upstream says nothing of how.
            Shape::List(list) if is_objects(field, list) => {}
            Shape::List(list) => {
                schema["x-kubernetes-list-type"] = match &list.topology {
                    Topology::Atomic => "atomic",
                    Topology::Set => "set",
                    Topology::Map(_) => "map",
                }
                .into();
                if let Topology::Map(keys) = &list.topology {
                    schema["x-kubernetes-list-map-keys"] = keys.iter().map(|(key, _)| &**key).collect();
                }
                if list.merge {
                    strategies.push("merge");
                }
                if let Some(key) = &list.merge_key {
                    schema["x-kubernetes-patch-merge-key"] = (**key).into();
                }
            }
            Shape::Map(map) if map.atomic => schema["x-kubernetes-map-type"] = "atomic".into(),
            Shape::Struct(id) if self.types.get(*id).name.ends_with(GRANULAR) => {
                schema["x-kubernetes-map-type"] = "granular".into();
            }
            _ => {}
        }
        if field.retain_keys {
            strategies.push("retainKeys");
        }
        if field.replace {
            strategies.push("replace");
        }
        if !strategies.is_empty() {
            schema["x-kubernetes-patch-strategy"] = strategies.join(",").into();
        }
    }

    fn shape(&self, shape: &Shape) -> Value {
        if let Some(name) = VALUES.iter().find(|(s, _, _)| *s == shape).map(|(_, name, _)| name) {
            return self.reference(name);
        }
        match shape {
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Float => json!({"type": "number", "format": "double"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            Shape::Struct(id) => self.reference(self.name(*id)),
            Shape::List(list) => json!({"type": "array", "items": self.shape(&list.item)}),
            Shape::Map(map) => json!({"type": "object", "additionalProperties": self.shape(&map.value)}),
            _ => json!({"type": "string"}),
        }
    }

    /// Version 3 allows no siblings of a reference, and properties have descriptions.
    fn reference(&self, name: &str) -> Value {
        match self.dialect {
            Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Dialect::V3 => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}),
        }
    }
}

/// Takes the type from the free-form parts of a schema.
fn any_type(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if map.contains_key("x-kubernetes-preserve-unknown-fields") {
        map.remove("type");
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            any_type(inner);
        }
    }
}

/// Fields all kinds have, where the sources describe them nowhere.
fn common_description(field: &Field) -> Option<String> {
    Some(match &*field.name {
        "apiVersion" => "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources".into(),
        "kind" => "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds".into(),
        "metadata" => "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata".into(),
        "items" => "The objects of the list.".into(),
        _ => return None,
    })
}

fn key_defaults(types: &Types) -> HashMap<(StructId, &str), &Value> {
    let mut defaults = HashMap::new();
    for (_, structure) in with_bases(types).flat_map(Types::iter) {
        for field in &structure.fields {
            let Shape::List(list) = &field.shape else { continue };
            let (Topology::Map(keys), Shape::Struct(item)) = (&list.topology, &list.item) else { continue };
            for (key, default) in keys {
                if let Some(default) = default {
                    defaults.insert((*item, &**key), default);
                }
            }
        }
    }
    defaults
}
