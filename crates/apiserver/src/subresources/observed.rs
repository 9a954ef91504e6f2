//! The answers about objects that nobody stores: one, or all that there are, in the form that is asked for.

use api::{Error, Object};
use http::StatusCode;
use resources::Resource;
use serde_json::{Value, json};

use crate::context::Context;
use crate::handlers::table;
use crate::request::call::Call;
use crate::respond::negotiate::{Answer, Shape};
use crate::respond::{self, Outcome};

/// The answer to a GET.
pub(super) fn one(context: &Context, row: &Resource, call: &Call, answer: Answer, object: Object) -> Outcome {
    let value = match answer.shape {
        Shape::Table(version) => table_of(context, row, call, version, &[object])?,
        Shape::Metadata(partial) => table::metadata_of_one(row, partial, &object)?,
        Shape::Whole => object.into_value(),
    };
    respond::value(StatusCode::OK, answer, &value)
}

/// The answer to a LIST.
pub(super) fn all(
    context: &Context,
    row: &Resource,
    call: &Call,
    answer: Answer,
    objects: Vec<Object>,
) -> Outcome {
    let list = |kind: &str, version: &str, items: Vec<Value>| json!({"kind": kind, "apiVersion": version, "metadata": {}, "items": items});
    let value = match answer.shape {
        Shape::Table(version) => table_of(context, row, call, version, &objects)?,
        Shape::Metadata(partial) => {
            table::check_list(row, partial)?;
            let items = objects.iter().map(|object| table::metadata_only(object, partial.version)).collect();
            list("PartialObjectMetadataList", &format!("meta.k8s.io/{}", partial.version), items)
        }
        Shape::Whole => {
            let items = objects.into_iter().map(Object::into_value).collect();
            list(&row.list_kind, &row.group_version().to_string(), items)
        }
    };
    respond::value(StatusCode::OK, answer, &value)
}

fn table_of(
    context: &Context,
    row: &Resource,
    call: &Call,
    version: &'static str,
    objects: &[Object],
) -> Result<Value, Error> {
    let form = table::Form::parse(version, &call.query)?;
    Ok(form.table_of(&*row.printer, objects, context.deps.clock.now(), "", true))
}
