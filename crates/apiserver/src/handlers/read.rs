//! GET of an object.

use http::StatusCode;

use super::delete::namespace_of;
use super::list;
use super::storage::Target;
use super::table;
use crate::request::call::Call;
use crate::respond::negotiate::{Answer, Shape};
use crate::respond::{self, Outcome};

/// Hands out the cache's bytes.
pub(crate) async fn get(target: &Target, call: &Call) -> Outcome {
    get_as(target, call, Answer::negotiate(&call.headers, target.row.in_protobuf())?).await
}

/// The same in a form that was negotiated before.
pub(crate) async fn get_as(target: &Target, call: &Call, answer: Answer) -> Outcome {
    list::revision(&call.query)?;
    let namespace = if target.row.namespaced() { namespace_of(target, call) } else { String::new() };
    let entry =
        target.cache.get(&namespace, &call.info.name).ok_or_else(|| target.not_found(&call.info.name))?;
    let json = target.served(&entry).await?;
    match answer.shape {
        Shape::Whole => respond::object(StatusCode::OK, answer, json),
        Shape::Metadata(partial) => {
            let metadata = table::metadata_of_one(&target.row, partial, &table::parse(&json)?)?;
            respond::value(StatusCode::OK, answer, &metadata)
        }
        Shape::Table(version) => {
            let form = table::Form::parse(version, &call.query)?;
            let object = table::parse(&json)?;
            let table = form.table(target, std::slice::from_ref(&object), object.resource_version(), true);
            respond::value(StatusCode::OK, answer, &table)
        }
    }
}
