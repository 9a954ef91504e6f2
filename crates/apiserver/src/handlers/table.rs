//! Server-side Tables and `PartialObjectMetadata`: partial views of objects.

use api::{Error, Object};
use jiff::Timestamp;
use resources::columns::Printer;
use serde_json::{Map, Value, json};

use super::storage::Target;
use crate::request::query::Query;

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
                return Err(Error::bad_request(format!(
                    "unrecognized includeObject value: {other:?} (expected \"None\", \"Metadata\" or \"Object\")"
                )));
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

/// The metadata of an object alone.
pub(crate) fn metadata_only(object: &Object) -> Value {
    partial(object, "v1")
}

fn partial(object: &Object, version: &str) -> Value {
    let metadata = object.metadata().cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
}

/// Reads an object's JSON.
pub(crate) fn parse(json: &[u8]) -> Result<Object, Error> {
    serde_json::from_slice(json).map_err(Error::internal)
}
