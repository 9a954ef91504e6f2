//! A small table in the likeness of a pod's types, for the machinery's own tests.

use serde_json::Value;

use super::{Field, List, MapOf, Shape, Struct, StructId, Topology, Types};

fn structure(name: &str, fields: Vec<(&str, Shape)>) -> Struct {
    let field = |(name, shape): (&str, Shape)| Field {
        name: name.into(),
        shape,
        required: false,
        default: None,
        retain_keys: false,
        replace: false,
        place: 0,
    };
    let mut fields: Vec<Field> = fields.into_iter().map(field).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Struct { name: name.into(), fields: fields.into(), atomic: false, preserve_unknown: false }
}

fn list(item: Shape, topology: Topology, merge: bool, merge_key: Option<&str>) -> Shape {
    Shape::List(Box::new(List { item, topology, merge, merge_key: merge_key.map(Into::into) }))
}

fn keyed(item: u32, keys: &[(&str, Option<Value>)]) -> Shape {
    let topology = Topology::Map(keys.iter().map(|(k, d)| ((*k).into(), d.clone())).collect());
    list(Shape::Struct(StructId(item)), topology, true, keys.first().map(|(k, _)| *k))
}

fn map(value: Shape, atomic: bool) -> Shape {
    Shape::Map(Box::new(MapOf { value, atomic }))
}

/// The table, and the structure of the pod in it.
pub(crate) fn types() -> (Types, StructId) {
    let meta = structure(
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        vec![
            ("name", Shape::String),
            ("namespace", Shape::String),
            ("uid", Shape::String),
            ("resourceVersion", Shape::String),
            ("generation", Shape::Int64),
            ("creationTimestamp", Shape::Time),
            ("labels", map(Shape::String, false)),
            ("annotations", map(Shape::String, false)),
            ("finalizers", list(Shape::String, Topology::Set, true, None)),
            ("ownerReferences", keyed(6, &[("uid", None)])),
            ("managedFields", list(Shape::Any, Topology::Atomic, false, None)),
        ],
    );
    let spec = structure(
        "io.k8s.api.core.v1.PodSpec",
        vec![
            ("containers", keyed(3, &[("name", None)])),
            ("nodeSelector", map(Shape::String, true)),
            ("nodeName", Shape::String),
            ("replicas", Shape::Int32),
            ("priority", Shape::Int32),
            ("hostNetwork", Shape::Bool),
            ("timeout", Shape::Duration),
        ],
    );
    let container = structure(
        "io.k8s.api.core.v1.Container",
        vec![
            ("name", Shape::String),
            ("image", Shape::String),
            ("args", list(Shape::String, Topology::Atomic, false, None)),
            ("ports", keyed(4, &[("containerPort", None), ("protocol", Some(Value::from("TCP")))])),
            ("resources", Shape::Struct(StructId(5))),
            ("tty", Shape::Bool),
        ],
    );
    let port = structure(
        "io.k8s.api.core.v1.ContainerPort",
        vec![
            ("containerPort", Shape::Int32),
            ("protocol", Shape::String),
            ("name", Shape::String),
            ("target", Shape::IntOrString),
        ],
    );
    let resources = structure(
        "io.k8s.api.core.v1.ResourceRequirements",
        vec![("limits", map(Shape::Quantity, false)), ("requests", map(Shape::Quantity, false))],
    );
    let mut owner = structure(
        "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
        vec![("uid", Shape::String), ("name", Shape::String)],
    );
    owner.atomic = true;
    let pod = structure(
        "io.k8s.api.core.v1.Pod",
        vec![
            ("apiVersion", Shape::String),
            ("kind", Shape::String),
            ("metadata", Shape::Struct(StructId(1))),
            ("spec", Shape::Struct(StructId(2))),
            ("data", map(Shape::Bytes, false)),
            ("extra", Shape::Any),
        ],
    );
    (Types::new(vec![pod, meta, spec, container, port, resources, owner]), StructId(0))
}
