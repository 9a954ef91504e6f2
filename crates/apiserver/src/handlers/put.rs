//! PUT: replacing objects.

use http::StatusCode;

use super::decode;
use super::delete::namespace_of;
use super::exchange::{finish, read_body};
use super::metadata;
use super::options::WriteOptions;
use super::storage::Target;
use super::write::{Change, Part, Write};
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;

/// Handles PUT of an object or of its status.
pub(crate) async fn update(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, target.row.in_protobuf())?;
    let options = WriteOptions::parse("UpdateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut warnings = Vec::new();
    let mut object = decode::object(&target.row, &call, &bytes, &options, &mut warnings)?;
    let namespace = namespace_of(&target, &call);
    metadata::check_name(&object, &namespace, &call.info.name)?;
    if target.row.namespaced() {
        object.set_meta_str("namespace", namespace.as_str());
    }
    let attributes = call.attributes();
    let part = Part::of(&attributes);
    let mut write = Write { target: &target, attributes: &attributes, part, options, warnings, view: None };
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
