//! The first step of the handlers of writes (reading the body) and the last (the response in the negotiated form).

use api::{Error, Object};
use bytes::Bytes;
use http::{Response, StatusCode};

use super::storage::Target;
use super::table;
use crate::body::{self, Body};
use crate::request::call::Call;
use crate::respond::negotiate::{Answer, Shape};
use crate::respond::{self, Outcome};

/// The whole body of the request, within the limit.
pub(crate) async fn read_body(target: &Target, call: &mut Call) -> Result<Bytes, Error> {
    body::read(call.take_body(), target.context.limits.body_bytes).await
}

/// The answer to a write in the negotiated form.
pub(crate) fn finish(
    target: &Target,
    call: &Call,
    answer: Answer,
    status: StatusCode,
    json: Bytes,
    warnings: &[String],
) -> Outcome {
    let mut response: Response<Body> = match answer.shape {
        Shape::Whole => respond::object(status, answer, json)?,
        Shape::Metadata(partial) => {
            let metadata = table::metadata_of_one(&target.row, partial, &table::parse(&json)?)?;
            respond::value(status, answer, &metadata)?
        }
        Shape::Table(version) => {
            let form = table::Form::parse(version, &call.query)?;
            let object: Object = table::parse(&json)?;
            let table = form.table(target, std::slice::from_ref(&object), object.resource_version(), true);
            respond::value(status, answer, &table)?
        }
    };
    respond::add_warnings(&mut response, warnings);
    Ok(response)
}

/// The answer that an object which is never stored is: the object, or its metadata alone.
pub(crate) fn companion(status: StatusCode, answer: Answer, object: Object) -> Outcome {
    match answer.shape {
        Shape::Metadata(partial) => {
            respond::value(status, answer, &table::metadata_only(&object, partial.version))
        }
        _ => respond::value(status, answer, &object.into_value()),
    }
}
