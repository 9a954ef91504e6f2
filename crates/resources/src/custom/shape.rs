//! A structural schema as the types that field management, patches and apply know: [`schema`].

use std::sync::Arc;

use api::Object;
use api::codec::structure::{self, Report};
use api::schema::{Field, List, MapOf, Shape, Struct, StructId, Topology, Types};

use super::structural::{Additional, ListType, Structural, Type};
use super::{defaulting, prune, rules};
use crate::schema::{Custom, Form, Schema};
use crate::schema_data::builtin_types;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The types of objects with the schema, as an extension of the built-in ones.
pub(super) fn schema(name: &str, structural: Arc<Structural>, published: Arc<str>) -> Schema {
    let base = Arc::clone(builtin_types());
    let metadata = base.find(OBJECT_META).expect("the built-in types know all objects' metadata");
    let mut build = Build { name, metadata, first: base.next_id().0, structs: Vec::new() };
    let root = build.structure(&structural, true);
    let frame = build.frame();
    let types = Arc::new(Types::extending(base, build.structs));
    let form = Box::new(Held { structural, frame });
    Schema::new(types, root).with_custom(Arc::new(Custom { published, form }))
}

/// What a structural schema does to objects.
struct Held {
    structural: Arc<Structural>,
    /// The structure of any object of which only type and metadata are known.
    frame: StructId,
}

impl Form for Held {
    fn settle(&self, types: &Types, object: &mut Object) -> Result<Report, String> {
        let mut report = structure::settle(types, self.frame, object)?;
        report.unknown.extend(prune::prune(&self.structural, &mut object.0));
        defaulting::fill(&self.structural, &mut object.0);
        Ok(report)
    }

    fn declared(&self) -> expressions::Type {
        rules::declared(&self.structural, true)
    }
}

struct Build<'a> {
    name: &'a str,
    metadata: StructId,
    first: u32,
    structs: Vec<Struct>,
}

impl Build<'_> {
    /// Adds the structure of an object. Those inside it follow it, so that it has its place first.
    fn structure(&mut self, schema: &Structural, whole: bool) -> StructId {
        let place = self.structs.len();
        let name = if place == 0 { self.name.to_owned() } else { format!("{}.{place}", self.name) };
        let empty =
            Struct { name: name.into(), fields: [].into(), atomic: schema.atomic, preserve_unknown: true };
        self.structs.push(empty);
        let of_objects = self.of_objects();
        let mut fields: Vec<Field> = Vec::new();
        for (name, below) in &schema.properties {
            if !(whole && of_objects.iter().any(|(known, _)| *known == &**name)) {
                let shape = self.shape(below);
                fields.push(field(name, shape));
            }
        }
        if whole {
            fields.extend(of_objects.into_iter().map(|(name, shape)| field(name, shape)));
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let own = &mut self.structs[place];
        own.fields = fields.into();
        own.preserve_unknown = schema.preserve_unknown;
        self.id(place)
    }

    /// Adds the structure of an object of which only type and metadata are known.
    fn frame(&mut self) -> StructId {
        let place = self.structs.len();
        let mut fields: Vec<Field> =
            self.of_objects().into_iter().map(|(name, shape)| field(name, shape)).collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let name = format!("{}.frame", self.name).into();
        self.structs.push(Struct { name, fields: fields.into(), atomic: false, preserve_unknown: true });
        self.id(place)
    }

    /// The fields that every object has.
    fn of_objects(&self) -> [(&'static str, Shape); 3] {
        [("apiVersion", Shape::String), ("kind", Shape::String), ("metadata", Shape::Struct(self.metadata))]
    }

    fn id(&self, place: usize) -> StructId {
        StructId(self.first + u32::try_from(place).expect("a schema has fewer than 2^32 structures"))
    }

    fn shape(&mut self, schema: &Structural) -> Shape {
        if schema.int_or_string {
            return Shape::IntOrString;
        }
        match schema.of_type {
            Some(Type::Object) => self.object(schema),
            Some(Type::Array) => self.list(schema),
            Some(Type::String) => Shape::String,
            Some(Type::Integer) => Shape::Int64,
            Some(Type::Number) => Shape::Float,
            Some(Type::Boolean) => Shape::Bool,
            None => Shape::Any,
        }
    }

    fn object(&mut self, schema: &Structural) -> Shape {
        match &schema.additional {
            Additional::Of(values) => {
                let value = self.shape(values);
                Shape::Map(Box::new(MapOf { value, atomic: schema.atomic }))
            }
            Additional::Allowed(true) => {
                Shape::Map(Box::new(MapOf { value: Shape::Any, atomic: schema.atomic }))
            }
            _ => Shape::Struct(self.structure(schema, schema.embedded)),
        }
    }

    fn list(&mut self, schema: &Structural) -> Shape {
        let Some(items) = &schema.items else {
            return Shape::List(Box::new(list(Shape::Any, Topology::Atomic)));
        };
        let topology = match schema.list_type {
            ListType::Atomic => Topology::Atomic,
            ListType::Set => Topology::Set,
            ListType::Map => {
                let default = |key: &str| items.properties.get(key)?.default.as_deref().cloned();
                Topology::Map(schema.keys.iter().map(|key| (key.clone(), default(key))).collect())
            }
        };
        let item = self.shape(items);
        Shape::List(Box::new(list(item, topology)))
    }
}

fn list(item: Shape, topology: Topology) -> List {
    List { item, topology, merge: false, merge_key: None }
}

fn field(name: &str, shape: Shape) -> Field {
    Field {
        name: name.into(),
        shape,
        required: false,
        default: None,
        retain_keys: false,
        replace: false,
        place: place(name),
    }
}

/// The order of members in JSON: as in all objects of the API.
fn place(name: &str) -> u16 {
    match name {
        "apiVersion" => 0,
        "kind" => 1,
        "metadata" => 2,
        _ => 3,
    }
}
