//! GET of an object, as it is or as it was.

use http::StatusCode;
use jiff::Timestamp;

use super::delete::namespace_of;
use super::list;
use super::past;
use super::storage::Target;
use super::table;
use crate::cache::Entry;
use crate::request::call::Call;
use crate::respond::negotiate::{Answer, Shape};
use crate::respond::{self, Outcome};

/// Hands out the cache's bytes.
pub(crate) async fn get(target: &Target, call: &Call) -> Outcome {
    if let Some(limit) = past::history_asked(&call.query)? {
        return past::history(target, &namespace(target, call), &call.info.name, limit).await;
    }
    get_as(target, call, Answer::negotiate(&call.headers, target.row.in_protobuf())?).await
}

/// The same in a form that was negotiated before.
pub(crate) async fn get_as(target: &Target, call: &Call, answer: Answer) -> Outcome {
    list::revision(&call.query)?;
    let (namespace, name) = (namespace(target, call), &call.info.name);
    let then = past::asked(target, &call.query).await?;
    let entry = match &then {
        None => target.cache.get(&namespace, name),
        Some(then) => past::entry(target, &namespace, name, then).await?,
    };
    let entry = entry.ok_or_else(|| target.not_found(name))?;
    let now = then.as_ref().map_or_else(|| target.context.deps.clock.now(), |then| then.time);
    written(target, call, answer, &entry, now).await.map(|response| past::told(response, then.as_ref()))
}

fn namespace(target: &Target, call: &Call) -> String {
    if target.row.namespaced() { namespace_of(target, call) } else { String::new() }
}

/// The object in the form that was negotiated; ages are counted to `now`.
async fn written(target: &Target, call: &Call, answer: Answer, entry: &Entry, now: Timestamp) -> Outcome {
    let json = target.served(entry).await?;
    match answer.shape {
        Shape::Whole => respond::object(StatusCode::OK, answer, json),
        Shape::Metadata(partial) => {
            let metadata = table::metadata_of_one(&target.row, partial, &table::parse(&json)?)?;
            respond::value(StatusCode::OK, answer, &metadata)
        }
        Shape::Table(version) => {
            let form = table::Form::parse(version, &call.query)?;
            let object = table::parse(&json)?;
            let (printer, objects) = (&*target.row.printer, std::slice::from_ref(&object));
            let table = form.table_of(printer, objects, now, object.resource_version(), true);
            respond::value(StatusCode::OK, answer, &table)
        }
    }
}
