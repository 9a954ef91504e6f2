//! The structure of an object held against its schema: types, ranges, unknown fields, nulls, and the
//! canonical form of quantities and times.
//!
//! Start with [`check`]. It leaves an object that decodes into the kind's Go type upstream, with the
//! text of Go's errors where it does not (`encoding/json`, `sigs.k8s.io/json`).

use serde_json::{Map, Value};

use super::value::type_word;
use crate::field::Path;
use crate::gvk::GroupVersion;
use crate::quantity::Quantity;
use crate::schema::{Shape, Struct, StructId, Types};
use crate::{Error, Object};

mod scalar;

/// At most so many unknown fields are reported, as upstream.
const MAX_REPORTED: usize = 100;

/// The fields that [`check`] dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Paths of fields the schema does not know, at most 100 of them.
    pub unknown: Vec<String>,
}

/// Checks `object` against the structure `id`: drops fields the schema does not know (and reports
/// them) and nulls, fills in the schema's own defaults, writes quantities and times canonically.
///
/// # Errors
/// 400 in upstream's words at the first value of a wrong type.
pub fn check(types: &Types, id: StructId, object: &mut Object) -> Result<Report, Error> {
    settle(types, id, object).map_err(|cause| cannot_be_handled(object, &cause))
}

/// The same as [`check`], for who says himself what cannot be handled.
///
/// # Errors
/// What Go's decoder says of the first value of a wrong type.
pub fn settle(types: &Types, id: StructId, object: &mut Object) -> Result<Report, String> {
    let mut walk = Walk { types, report: Report::default() };
    walk.structure(id, &mut object.0, &Path::root("")).map(|()| walk.report)
}

/// `Pod in version "v1" cannot be handled as a Pod: CAUSE`
pub fn cannot_be_handled(object: &Object, cause: &str) -> Error {
    let kind = object.kind();
    let version = GroupVersion::parse(object.api_version()).map(|gv| gv.version).unwrap_or_default();
    Error::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {cause}"))
}

/// Where a value stands: for the text of an error.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The innermost structure.
    owner: &'a Struct,
    path: &'a Path<'a>,
}

impl Place<'_> {
    fn mismatch(&self, value: &str, go_type: &str) -> String {
        let owner = self.owner.name.rsplit('.').next().unwrap_or_default();
        let path = without_indexes(&self.path.to_string());
        format!("json: cannot unmarshal {value} into Go struct field {owner}.{path} of type {go_type}")
    }
}

/// Go's decoder names fields, not items.
fn without_indexes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

struct Walk<'t> {
    types: &'t Types,
    report: Report,
}

impl<'t> Walk<'t> {
    fn structure(
        &mut self,
        id: StructId,
        map: &mut Map<String, Value>,
        path: &Path<'_>,
    ) -> Result<(), String> {
        let owner = self.types.get(id);
        if self.types.has_defaults(id) {
            for field in &owner.fields {
                if let Some(default) = &field.default
                    && map.get(&*field.name).is_none_or(Value::is_null)
                {
                    map.insert(field.name.to_string(), (**default).clone());
                }
            }
        }
        let (mut any_dropped, mut failure) = (false, None);
        for (key, value) in &mut *map {
            let Some(field) = owner.field(key) else {
                if !owner.preserve_unknown {
                    any_dropped = true;
                    if self.report.unknown.len() < MAX_REPORTED {
                        self.report.unknown.push(path.child(key).to_string());
                    }
                }
                continue;
            };
            if value.is_null() {
                any_dropped = true;
            } else if let Err(cause) =
                self.value(&field.shape, value, Place { owner, path: &path.child(key) })
            {
                failure = Some(cause);
                break;
            }
        }
        if let Some(cause) = failure {
            return Err(cause);
        }
        if any_dropped {
            map.retain(|key, value| match owner.field(key) {
                Some(_) => !value.is_null(),
                None => owner.preserve_unknown,
            });
        }
        Ok(())
    }

    /// Checks a value that is not null.
    fn value(&mut self, shape: &Shape, value: &mut Value, place: Place<'_>) -> Result<(), String> {
        match (shape, &mut *value) {
            (Shape::Struct(id), Value::Object(map)) => self.structure(*id, map, place.path),
            (Shape::List(list), Value::Array(items)) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let path = place.path.index(i);
                    if item.is_null() {
                        *item = zero(&list.item);
                    }
                    self.value(&list.item, item, Place { path: &path, ..place })?;
                }
                Ok(())
            }
            (Shape::Map(of), Value::Object(map)) => {
                for (key, item) in map {
                    if item.is_null() {
                        *item = zero(&of.value);
                    }
                    let path = place.path.key(key);
                    self.value(&of.value, item, Place { path: &path, ..place })?;
                }
                Ok(())
            }
            (Shape::Any, _) => Ok(()),
            (Shape::Struct(_) | Shape::List(_) | Shape::Map(_), other) => {
                Err(place.mismatch(type_word(other), &self.go_type(shape)))
            }
            _ => scalar::check(shape, value, place),
        }
    }

    /// The name of a shape's Go type, as far as the schema tells.
    fn go_type(&self, shape: &Shape) -> String {
        match shape {
            Shape::Struct(id) => {
                let name = &self.types.get(*id).name;
                let mut parts = name.rsplitn(3, '.');
                match (parts.next(), parts.next()) {
                    (Some(kind), Some(version)) => format!("{version}.{kind}"),
                    _ => name.to_string(),
                }
            }
            Shape::List(list) => format!("[]{}", self.go_type(&list.item)),
            Shape::Map(of) => format!("map[string]{}", self.go_type(&of.value)),
            other => scalar::go_type(other).to_owned(),
        }
    }
}

/// What a null becomes as the item of a list or the value of a map: Go's zero value.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => Value::from(0),
        Shape::String | Shape::Bytes => Value::String(String::new()),
        Shape::Quantity => Value::String(Quantity::ZERO.to_string()),
        Shape::Duration => Value::String("0s".to_owned()),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Struct(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::Any => Value::Null,
        Shape::Time => Value::String("0001-01-01T00:00:00Z".to_owned()),
        Shape::MicroTime => Value::String("0001-01-01T00:00:00.000000Z".to_owned()),
    }
}
