//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

use api::codec::{self, Limits, Strictness};
use api::field::{FieldError, Path};
use api::managed::{self, Writer};
use api::{Error, GroupKind, Object, patch};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use resources::{Schema, Verb};
use serde_json::Value;

use super::decode;
use super::delete::namespace_of;
use super::exchange::{finish, read_body};
use super::metadata;
use super::options::WriteOptions;
use super::storage::Target;
use super::write::{Change, Part, Write};
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::{Answer, media_type, unsupported_media_type};

/// The kinds of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// What is taken for kinds that have no strategy of merging.
const ACCEPTED_OF_CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
                        application/strategic-merge-patch+json, application/apply-patch+yaml";

impl PatchType {
    /// # Errors
    /// 415 for anything that is no patch.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        match media_type(headers) {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ => Err(unsupported_media_type(ACCEPTED)),
        }
    }
}

/// A patch, read but not applied.
pub(crate) enum Patch {
    Json(Bytes),
    Merge(Value),
    Strategic(Object),
}

impl Patch {
    /// Reads a patch; paths of fields given twice are added to `duplicates`.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub(crate) fn read(kind: PatchType, bytes: Bytes, duplicates: &mut Vec<String>) -> Result<Self, Error> {
        let limits = Limits::default();
        match kind {
            PatchType::Json => Ok(Self::Json(bytes)),
            PatchType::Merge => {
                let (value, twice) = codec::decode_json_value(&bytes, &limits)?;
                duplicates.extend(twice);
                if value.is_object() {
                    return Ok(Self::Merge(value));
                }
                Err(Error::bad_request(format!("error decoding patch: {}", no_object(&value))))
            }
            PatchType::Strategic => {
                let (value, twice) = codec::decode_json_value(&bytes, &limits)?;
                duplicates.extend(twice);
                let why = no_object(&value);
                Object::from_value(value).map(Self::Strategic).ok_or_else(|| Error::bad_request(why))
            }
            PatchType::Apply => Err(Error::internal("an apply configuration is no patch")),
        }
    }

    /// The patched copy of `old`, an object of the given structure.
    ///
    /// # Errors
    /// 400 or 422 when the patch does not apply.
    pub(crate) fn apply(&self, old: &Object, schema: &Schema) -> Result<Object, Error> {
        let patched = match self {
            Self::Json(bytes) => {
                patch::json(&old.clone().into_value(), bytes, &Limits::default()).map_err(unapplied)?
            }
            Self::Merge(change) => {
                let mut value = old.clone().into_value();
                patch::merge(&mut value, change);
                value
            }
            Self::Strategic(change) => return patch::strategic(schema.types(), schema.id(), old, change),
        };
        Object::from_value(patched).ok_or_else(|| Error::bad_request("the patched value is no object"))
    }

    /// The refusal of what the patch makes of an object where that is none of its kind.
    fn undecodable(&self, patched: String, cause: &str) -> Error {
        let shown = match self {
            Self::Json(_) | Self::Merge(_) => patched,
            Self::Strategic(change) => in_go(&Value::Object(change.0.clone())),
        };
        let fault = FieldError::invalid(&Path::root("patch"), shown, cause);
        Error::invalid(&GroupKind::new("", ""), "", &vec![fault])
    }
}

/// The JSON of what a patch has made.
fn object_of(object: &Object) -> String {
    Value::Object(object.0.clone()).to_string()
}

/// A value as Go prints it, which is how upstream shows a strategic merge patch.
fn in_go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(in_go).collect::<Vec<_>>().join(" ")),
        Value::Object(entries) => {
            let mut shown: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}:{}", in_go(value))).collect();
            shown.sort_unstable();
            format!("map[{}]", shown.join(" "))
        }
        other => other.to_string(),
    }
}

/// The refusal of operations that cannot be carried out, in upstream's words, which clients compare. They do not say
/// why; the log does.
fn unapplied(error: Error) -> Error {
    if error.code() != 422 {
        return error;
    }
    tracing::debug!(why = error.message, "a JSON patch does not apply");
    Error { message: "the server rejected our request due to an error in our request".to_owned(), ..error }
}

/// What upstream says of a patch that is to be an object and is none.
fn no_object(patch: &Value) -> String {
    let found = match patch {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Null => "null",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
}

/// Handles PATCH of an object or of its status.
pub(crate) async fn patch(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, target.row.in_protobuf())?;
    let kind = PatchType::of(&call.headers)?;
    if kind == PatchType::Strategic && target.row.schema.custom().is_some() {
        return Err(unsupported_media_type(ACCEPTED_OF_CUSTOM));
    }
    let options = WriteOptions::parse("PatchOptions", &call.query, &call.headers, kind == PatchType::Apply)?;
    let bytes = read_body(&target, &mut call).await?;
    call.notes.received_patch(&bytes);
    if kind == PatchType::Apply {
        return apply(target, call, answer, options, bytes).await;
    }
    let mut duplicates = Vec::new();
    let change = Patch::read(kind, bytes, &mut duplicates)?;
    let namespace = namespace_of(&target, &call);
    let current = target.read_existing(&namespace, &call.info.name).await?;
    let attributes = call.attributes();
    let part = Part::of(&attributes);
    let mut write =
        Write { target: &target, attributes: &attributes, part, options, warnings: Vec::new(), view: None };
    let schema = &target.row.schema;
    let json = write
        .update(current, |write, old| {
            let mut object = change.apply(old, schema)?;
            check_type(&object, old)?;
            let report =
                schema.settle(&mut object).map_err(|cause| change.undecodable(object_of(&object), &cause))?;
            let strictness = Strictness::new(duplicates.clone(), report.unknown);
            write.warnings.extend(strictness.judge(write.options.field_validation, &object)?);
            metadata::check_name(&object, &namespace, &call.info.name)?;
            Ok(Change { object, managed: false })
        })
        .await?;
    finish(&target, &call, answer, StatusCode::OK, json, &write.warnings)
}

fn check_type(new: &Object, old: &Object) -> Result<(), Error> {
    if new.kind() == old.kind() && new.api_version() == old.api_version() {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "a patch may not change the type of the object: it is {} {}, the patched one {} {}",
        old.api_version(),
        old.kind(),
        new.api_version(),
        new.kind()
    )))
}

/// Server-side apply: merges a configuration into the object, or creates it.
async fn apply(target: Target, call: Call, answer: Answer, options: WriteOptions, bytes: Bytes) -> Outcome {
    let mut warnings = Vec::new();
    let config = decode::applied(&target.row, &bytes, &options, &mut warnings)?;
    let namespace = namespace_of(&target, &call);
    let attributes = call.attributes();
    let api_version = target.row.group_version().to_string();
    let (manager, force) = (options.manager.clone(), options.force);
    let now = target.context.deps.clock.now();
    let schema = &target.row.schema;
    let merge = |live: Option<&Object>, config: Object| {
        let writer =
            Writer { manager: &manager, api_version: &api_version, subresource: &call.info.subresource, now };
        let mut object = managed::apply(schema.types(), schema.id(), live, config, force, &writer)?;
        metadata::check_name(&object, &namespace, &call.info.name)?;
        if target.row.namespaced() {
            object.set_meta_str("namespace", namespace.as_str());
        }
        Ok(object)
    };
    let part = Part::of(&attributes);
    let mut write = Write { target: &target, attributes: &attributes, part, options, warnings, view: None };
    let Some(current) = target.read(&namespace, &call.info.name).await? else {
        if !call.info.subresource.is_empty() {
            return Err(target.not_found(&call.info.name));
        }
        if !target.row.supports(Verb::Create) {
            return Err(Error::method_not_allowed(&target.group_resource(), "create"));
        }
        if !config.uid().is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                config.uid()
            );
            return Err(Error::conflict(&target.group_resource(), &call.info.name, &why));
        }
        let object = merge(None, config)?;
        let json = write.create(Change { object, managed: true }).await?;
        return finish(&target, &call, answer, StatusCode::CREATED, json, &write.warnings);
    };
    let json = write
        .update(current, |_, live| {
            let object = merge(Some(live), config.clone())?;
            Ok(Change { object, managed: true })
        })
        .await?;
    finish(&target, &call, answer, StatusCode::OK, json, &write.warnings)
}
