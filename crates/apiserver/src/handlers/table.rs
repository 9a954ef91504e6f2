//! Server-side Tables and `PartialObjectMetadata`: partial views of objects.

use api::field::{FieldError, Path};
use api::{Error, Object, Reason};
use jiff::Timestamp;
use resources::Resource;
use resources::columns::Printer;
use serde_json::{Map, Value, json};

use super::storage::Target;
use crate::request::query::Query;
use crate::respond::negotiate::Partial;

/// What goes with a row besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

/// How Tables of a request look.
#[derive(Clone)]
pub(crate) struct Form {
    version: &'static str,
    include: Include,
}

impl Form {
    /// # Errors
    /// 400 for an unknown `includeObject`.
    pub(crate) fn parse(version: &'static str, query: &Query) -> Result<Self, Error> {
        let include = match query.get("includeObject").unwrap_or("") {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            other => {
                let path = Path::root("includeObject");
                let error =
                    FieldError::invalid(&path, other, "must be 'Metadata', 'Object', 'None', or empty");
                let why = format!("Unable to convert to Table as requested: {error}");
                return Err(Error::bad_request(why));
            }
        };
        Ok(Self { version, include })
    }

    /// A Table of `objects`. Columns may be left out of a watch's later events.
    pub(crate) fn table(&self, target: &Target, objects: &[Object], revision: &str, columns: bool) -> Value {
        let now = target.context.deps.clock.now();
        self.table_of(&*target.row.printer, objects, now, revision, columns)
    }

    /// The same by any printer, whose ages are counted to `now`.
    pub(crate) fn table_of(
        &self,
        printer: &dyn Printer,
        objects: &[Object],
        now: Timestamp,
        revision: &str,
        columns: bool,
    ) -> Value {
        let rows: Vec<Value> = objects
            .iter()
            .map(|object| {
                let mut row = Map::new();
                row.insert("cells".into(), printer.cells(object, now).into());
                let conditions = printer.conditions(object);
                if !conditions.is_empty() {
                    row.insert("conditions".into(), conditions.into());
                }
                match self.include {
                    Include::None => {}
                    Include::Metadata => {
                        row.insert("object".into(), partial(object, self.version));
                    }
                    Include::Object => {
                        row.insert("object".into(), Value::Object(object.0.clone()));
                    }
                }
                Value::Object(row)
            })
            .collect();
        let definitions: Value = if columns { definitions(printer) } else { Value::Null };
        json!({
            "kind": "Table", "apiVersion": format!("meta.k8s.io/{}", self.version),
            "metadata": {"resourceVersion": revision},
            "columnDefinitions": definitions, "rows": rows,
        })
    }
}

fn definitions(printer: &dyn Printer) -> Value {
    printer
        .heads()
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "type": c.kind, "format": c.format,
                "description": c.description, "priority": c.priority,
            })
        })
        .collect()
}

/// The metadata of one object of a row.
///
/// # Errors
/// 406 when the metadata of a list is asked for.
pub(crate) fn metadata_of_one(row: &Resource, wanted: Partial, object: &Object) -> Result<Value, Error> {
    if wanted.list {
        let why = "you requested PartialObjectMetadataList, but the requested object is not a list";
        return Err(no_such_form(why, row, &row.kind));
    }
    Ok(metadata_only(object, wanted.version))
}

/// Refuses to write a list of a row's objects as the metadata of one object.
///
/// # Errors
/// 406, in that case.
pub(crate) fn check_list(row: &Resource, wanted: Partial) -> Result<(), Error> {
    if wanted.list {
        return Ok(());
    }
    let why = "you requested PartialObjectMetadata, but the requested object is a list";
    Err(no_such_form(why, row, &row.list_kind))
}

/// The failure, which names the type that upstream has for what was asked.
fn no_such_form(why: &str, row: &Resource, kind: &str) -> Error {
    let package = match row.group.split('.').next() {
        _ if row.schema.custom().is_some() => "unstructured",
        None | Some("") => "core",
        Some(package) => package,
    };
    let name = match (row.schema.custom().is_some(), kind == &*row.kind) {
        (false, _) => kind,
        (true, true) => "Unstructured",
        (true, false) => "UnstructuredList",
    };
    Error::new(Reason::NotAcceptable, format!("{why} (*{package}.{name})"))
}

/// The metadata of an object alone, as `version` of the form.
pub(crate) fn metadata_only(object: &Object, version: &str) -> Value {
    partial(object, version)
}

fn partial(object: &Object, version: &str) -> Value {
    let metadata = object.metadata().cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
}

/// Reads an object's JSON.
pub(crate) fn parse(json: &[u8]) -> Result<Object, Error> {
    serde_json::from_slice(json).map_err(Error::internal)
}
