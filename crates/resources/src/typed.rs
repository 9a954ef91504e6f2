//! [`type_of`]: what expressions know of a kind's objects before they see one. Source: upstream's
//! `k8s.io/apiserver/pkg/cel/common/schemas.go`.

use std::collections::HashMap;
use std::sync::Arc;

use api::schema::{Shape, StructId, Types};
use expressions::{ObjectType, Type};

use crate::schema::Schema;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The type of objects of a kind. What may be of several types (quantities, `IntOrString`, free JSON) is of any.
pub(crate) fn type_of(schema: &Schema) -> Type {
    let mut build = Build { types: schema.types(), known: HashMap::new() };
    let Some(custom) = schema.custom() else { return build.structure(schema.id()) };
    match (custom.form.declared(), schema.types().find(OBJECT_META)) {
        (Type::Object(object), Some(metadata)) => {
            let mut fields = object.fields.clone();
            fields.insert("metadata".to_owned(), build.structure(metadata));
            Type::Object(Arc::new(ObjectType { fields }))
        }
        (other, _) => other,
    }
}

struct Build<'a> {
    types: &'a Types,
    /// Each structure once, however often it is referred to: a pod's are many, and stand in most workloads.
    known: HashMap<StructId, Type>,
}

impl Build<'_> {
    fn structure(&mut self, id: StructId) -> Type {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        // A structure within itself (a definition's schema) is of any type there.
        self.known.insert(id, Type::Dyn);
        let fields = self.types.get(id).fields.iter();
        let fields =
            fields.filter_map(|field| Some((ObjectType::escaped(&field.name)?, self.shape(&field.shape))));
        let of = Type::Object(Arc::new(ObjectType { fields: fields.collect() }));
        self.known.insert(id, of.clone());
        of
    }

    fn shape(&mut self, shape: &Shape) -> Type {
        match shape {
            Shape::Bool => Type::Bool,
            Shape::Int32 | Shape::Int64 => Type::Int,
            Shape::Float => Type::Double,
            Shape::String | Shape::Duration => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Time | Shape::MicroTime => Type::Timestamp,
            Shape::IntOrString | Shape::Quantity | Shape::Any => Type::Dyn,
            Shape::Struct(id) => self.structure(*id),
            Shape::List(list) => Type::list(self.shape(&list.item)),
            Shape::Map(of) => Type::map(self.shape(&of.value)),
        }
    }
}
