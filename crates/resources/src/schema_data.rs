//! The built-in kinds' structures, read from the generated `data/types.txt`.
//!
//! Start with [`schema_of_kind`]. The file has a line for each structure
//! (`name [atomic] [gvk=group/version/Kind]`) followed by an indented line for each field
//! (`name[!] shape flags`, `!` for required), in the order that the fields have in JSON. Shapes: `string`, `int32`, …, `@structure`, `[]item`,
//! `{}value`. Flags: `set`, `map=key:default,…`, `merge`, `mergekey=…`, `retainkeys`, `replace`,
//! `atomic`, `granular`. It never holds descriptions: see [`crate::docs`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use api::GroupVersionKind;
use api::schema::{Field, List, MapOf, Shape, Struct, StructId, Topology, Types};

use crate::schema::Schema;
use crate::written::with_zeros;
use crate::{embedded, messages};

/// Marks the variant of an otherwise atomic structure whose fields are owned one by one.
pub(crate) const GRANULAR: &str = "#granular";

/// The contents of the data file.
struct Data {
    types: Arc<Types>,
    kinds: HashMap<GroupVersionKind, StructId>,
}

static DATA: LazyLock<Data> = LazyLock::new(|| parse(&embedded::types()));

/// The structures of all built-in kinds. Read on first use (a few milliseconds).
pub fn builtin_types() -> &'static Arc<Types> {
    &DATA.types
}

/// The structure of a built-in kind, also of those without a resource (lists, `Eviction`, `Scale`).
pub fn schema_of_kind(gvk: &GroupVersionKind) -> Option<Schema> {
    DATA.kinds.get(gvk).map(|id| builtin(*id))
}

/// The built-in structure of a name (`io.k8s.api.core.v1.PodSpec`).
pub fn schema_of_structure(name: &str) -> Option<Schema> {
    DATA.types.find(name).map(builtin)
}

fn builtin(id: StructId) -> Schema {
    Schema::new(Arc::clone(&DATA.types), id).with_messages(messages::messages)
}

/// All kinds with a structure, in no order.
pub(crate) fn kinds() -> impl Iterator<Item = (&'static GroupVersionKind, StructId)> {
    DATA.kinds.iter().map(|(gvk, id)| (gvk, *id))
}

/// A structure's lines: its header and its fields.
struct Block<'a> {
    name: String,
    flags: &'a str,
    fields: Vec<&'a str>,
    granular: bool,
}

fn parse(text: &str) -> Data {
    let blocks = blocks(text);
    let ids: HashMap<&str, StructId> =
        blocks.iter().zip(0u32..).map(|(b, i)| (b.name.as_str(), StructId(i))).collect();
    let mut kinds = HashMap::new();
    for block in blocks.iter().filter(|b| !b.granular) {
        if let Some(gvk) = block.flags.split(' ').find_map(|f| f.strip_prefix("gvk=")) {
            kinds.insert(parse_gvk(gvk), ids[block.name.as_str()]);
        }
    }
    let structs = blocks.iter().map(|block| {
        let lines = block.fields.iter().zip(0u16..);
        let mut fields: Vec<Field> = lines.map(|(line, place)| field(line, place, &ids)).collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Struct {
            name: block.name.as_str().into(),
            fields: fields.into(),
            atomic: !block.granular && block.flags.split(' ').any(|f| f == "atomic"),
            preserve_unknown: false,
        }
    });
    Data { types: Arc::new(with_zeros(Types::new(structs.collect()))), kinds }
}

/// Splits the file; structures some field wants granular come a second time, at the end.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut granular = BTreeSet::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        match line.strip_prefix(' ') {
            Some(field) => {
                if let Some(name) = granular_reference(field) {
                    granular.insert(name);
                }
                blocks.last_mut().expect("fields follow their structure's line").fields.push(field);
            }
            None => {
                let (name, flags) = line.split_once(' ').unwrap_or((line, ""));
                blocks.push(Block { name: name.to_owned(), flags, fields: Vec::new(), granular: false });
            }
        }
    }
    for name in granular {
        let original = blocks.iter().find(|b| b.name == name).expect("referenced structures are in the file");
        blocks.push(Block {
            name: format!("{name}{GRANULAR}"),
            flags: original.flags,
            fields: original.fields.clone(),
            granular: true,
        });
    }
    blocks
}

fn granular_reference(field: &str) -> Option<&str> {
    let mut words = field.split(' ').skip(1);
    let name = words.next()?.strip_prefix('@')?;
    words.any(|w| w == "granular").then_some(name)
}

fn parse_gvk(text: &str) -> GroupVersionKind {
    let mut parts = text.split('/');
    let mut next = || parts.next().expect("a kind is written group/version/Kind");
    GroupVersionKind::new(next(), next(), next())
}

fn field(line: &str, place: u16, ids: &HashMap<&str, StructId>) -> Field {
    let mut words = line.split(' ');
    let name = words.next().expect("a line has a first word");
    let word = words.next().expect("a field has a shape");
    let flags: Vec<&str> = words.collect();
    Field {
        name: name.trim_end_matches('!').into(),
        shape: shape(word, &flags, ids),
        required: name.ends_with('!'),
        default: None,
        retain_keys: flags.contains(&"retainkeys"),
        replace: flags.contains(&"replace"),
        place,
    }
}

/// The shape that a word encodes. The flags are the field's: they describe the outermost list or map.
fn shape(word: &str, flags: &[&str], ids: &HashMap<&str, StructId>) -> Shape {
    let value_of = |prefix: &str| flags.iter().find_map(|f| f.strip_prefix(prefix));
    if let Some(item) = word.strip_prefix("[]") {
        let topology = if flags.contains(&"set") {
            Topology::Set
        } else if let Some(keys) = value_of("map=") {
            Topology::Map(keys.split(',').map(map_key).collect())
        } else {
            Topology::Atomic
        };
        return Shape::List(Box::new(List {
            item: shape(item, &[], ids),
            topology,
            merge: flags.contains(&"merge"),
            merge_key: value_of("mergekey=").map(Into::into),
        }));
    }
    if let Some(value) = word.strip_prefix("{}") {
        return Shape::Map(Box::new(MapOf {
            value: shape(value, &[], ids),
            atomic: flags.contains(&"atomic"),
        }));
    }
    if let Some(name) = word.strip_prefix('@') {
        let granular = format!("{name}{GRANULAR}");
        let name = if flags.contains(&"granular") { granular.as_str() } else { name };
        return Shape::Struct(ids[name]);
    }
    match word {
        "string" => Shape::String,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "float" => Shape::Float,
        "bytes" => Shape::Bytes,
        "intorstring" => Shape::IntOrString,
        "quantity" => Shape::Quantity,
        "time" => Shape::Time,
        "duration" => Shape::Duration,
        "microtime" => Shape::MicroTime,
        "any" => Shape::Any,
        other => unreachable!("the generator writes no shape {other}"),
    }
}

fn map_key(text: &str) -> (Box<str>, Option<serde_json::Value>) {
    match text.split_once(':') {
        Some((key, default)) => (key.into(), Some(default.into())),
        None => (text.into(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(structure: &str, field: &str) -> &'static Shape {
        let id = builtin_types().find(structure).expect("the structure exists");
        &builtin_types().get(id).field(field).expect("the field exists").shape
    }

    #[test]
    fn list_topologies_and_merge_keys_are_read() {
        let Shape::List(ports) = shape_of("io.k8s.api.core.v1.ServiceSpec", "ports") else {
            panic!("no list")
        };
        let keys = [("port".into(), None), ("protocol".into(), Some("TCP".into()))];
        assert_eq!(ports.topology, Topology::Map(keys.into()));
        assert!(ports.merge);
        assert_eq!(ports.merge_key.as_deref(), Some("port"));
        let Shape::List(args) = shape_of("io.k8s.api.core.v1.Container", "args") else { panic!("no list") };
        assert_eq!(args.topology, Topology::Atomic);
    }

    #[test]
    fn maps_scalars_and_nested_lists_are_read() {
        assert_eq!(shape_of("io.k8s.api.core.v1.ServicePort", "targetPort"), &Shape::IntOrString);
        let Shape::Map(selector) = shape_of("io.k8s.api.core.v1.PodSpec", "nodeSelector") else {
            panic!("no map")
        };
        assert!(selector.atomic);
        let Shape::Map(data) = shape_of("io.k8s.api.core.v1.Secret", "data") else { panic!("no map") };
        assert_eq!((&data.value, data.atomic), (&Shape::Bytes, false));
        let Shape::Map(extra) = shape_of("io.k8s.api.authentication.v1.UserInfo", "extra") else {
            panic!("no map")
        };
        assert!(matches!(&extra.value, Shape::List(l) if l.item == Shape::String));
    }

    #[test]
    fn a_granular_reference_gets_its_own_structure() {
        let Shape::Struct(id) = shape_of("io.k8s.api.core.v1.PersistentVolumeSpec", "claimRef") else {
            panic!()
        };
        assert!(!builtin_types().get(*id).atomic);
        let plain = builtin_types().find("io.k8s.api.core.v1.ObjectReference").expect("exists");
        assert!(builtin_types().get(plain).atomic && plain != *id);
    }

    #[test]
    fn required_fields_and_kinds_are_read() {
        let id = builtin_types().find("io.k8s.api.core.v1.PodSpec").expect("exists");
        assert!(builtin_types().get(id).field("containers").expect("exists").required);
        assert!(builtin_types().get(id).field("volumes").expect("exists").retain_keys);
        let gvk = GroupVersionKind::new("apps", "v1", "DeploymentList");
        assert_eq!(
            schema_of_kind(&gvk).map(|s| s.id()),
            builtin_types().find("io.k8s.api.apps.v1.DeploymentList")
        );
    }
}
