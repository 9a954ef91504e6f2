//! POST and PUT: creating and replacing objects.

use api::{Error, Object};
use bytes::Bytes;
use http::{Response, StatusCode};

use super::decode;
use super::delete::namespace_of;
use super::metadata;
use super::options::WriteOptions;
use super::storage::Target;
use super::table;
use super::write::{Change, Part, Write};
use crate::body::{self, Body};
use crate::call::Call;
use crate::negotiate::{Answer, Shape};
use crate::respond::{self, Outcome};

/// Handles POST to a collection.
pub(crate) async fn create(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers)?;
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut warnings = Vec::new();
    let object = decode::object(&target.row, &call.headers, &bytes, &options, &mut warnings)?;
    let mut attributes = call.attributes();
    if attributes.name.is_empty() {
        object.name().clone_into(&mut attributes.name);
    }
    let part = Part::of(&attributes);
    let mut write = Write { target: &target, attributes: &attributes, part, options, warnings };
    let json = write.create(Change { object, managed: false }).await?;
    finish(&target, &call, answer, StatusCode::CREATED, json, &write.warnings)
}

/// Handles PUT of an object or of its status.
pub(crate) async fn update(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers)?;
    let options = WriteOptions::parse("UpdateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut warnings = Vec::new();
    let mut object = decode::object(&target.row, &call.headers, &bytes, &options, &mut warnings)?;
    let namespace = namespace_of(&target, &call);
    metadata::check_name(&object, &namespace, &call.info.name)?;
    if target.row.namespaced() {
        object.set_meta_str("namespace", namespace.as_str());
    }
    let attributes = call.attributes();
    let part = Part::of(&attributes);
    let mut write = Write { target: &target, attributes: &attributes, part, options, warnings };
    let Some(current) = target.read(&namespace, &call.info.name).await? else {
        if !target.row.rules.create_on_update || !call.info.subresource.is_empty() {
            return Err(target.not_found(&call.info.name));
        }
        object.metadata_mut().remove("resourceVersion");
        let json = write.create(Change { object, managed: false }).await?;
        return finish(&target, &call, answer, StatusCode::CREATED, json, &write.warnings);
    };
    let json = write.update(current, |_, _| Ok(Change { object: object.clone(), managed: false })).await?;
    finish(&target, &call, answer, StatusCode::OK, json, &write.warnings)
}

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
        Shape::Metadata => respond::value(status, answer, &table::metadata_only(&table::parse(&json)?))?,
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
