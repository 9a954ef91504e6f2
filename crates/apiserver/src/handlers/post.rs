//! POST: creating objects.

use http::StatusCode;

use super::decode;
use super::exchange::{finish, read_body};
use super::options::WriteOptions;
use super::storage::Target;
use super::write::{Change, Part, Write};
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;

/// Handles POST to a collection.
pub(crate) async fn create(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, target.row.in_protobuf())?;
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut warnings = Vec::new();
    let object = decode::object(&target.row, &call, &bytes, &options, &mut warnings)?;
    let mut attributes = call.attributes();
    if attributes.name.is_empty() {
        object.name().clone_into(&mut attributes.name);
    }
    let part = Part::of(&attributes);
    let mut write = Write { target: &target, attributes: &attributes, part, options, warnings, view: None };
    let json = write.create(Change { object, managed: false }).await?;
    finish(&target, &call, answer, StatusCode::CREATED, json, &write.warnings)
}
