//! From a request's body to an object of the row's kind and version, its structure checked.

use api::codec::{self, Decoded, FieldValidation, Limits, Strictness, protobuf, structure};
use api::managed;
use api::{Error, GroupVersion, GroupVersionKind, Object, Reason};
use http::HeaderMap;
use resources::{Resource, Schema};

use super::options::WriteOptions;
use crate::request::call::Call;
use crate::respond::negotiate::{BodyFormat, body_format, unsupported_media_type};

/// What bodies of kinds without a protobuf form may be written in.
const TEXTS: &str = "application/json, application/yaml";

/// How much of a body that cannot be read is shown.
const SUMMARY_BYTES: usize = 30;
/// How much of a body without a kind is shown.
const SHOWN_BYTES: usize = 4096;

/// Decodes a body of the given structure in whatever format it is written, its structure not checked yet.
///
/// # Errors
/// 400 for what cannot be read, 415 for a format that is not taken.
fn document(headers: &HeaderMap, body: &[u8], schema: &Schema) -> Result<Decoded, Error> {
    let limits = Limits::default();
    match body_format(headers)? {
        BodyFormat::Json => codec::decode_json(body, &limits),
        BodyFormat::Yaml => codec::decode_yaml(body, &limits),
        BodyFormat::Protobuf => {
            let messages = schema.messages().ok_or_else(|| unsupported_media_type(TEXTS))?;
            let object = protobuf::decode(schema.types(), messages, schema.id(), body, &limits)?;
            Ok(Decoded { object, duplicates: Vec::new() })
        }
    }
}

/// Decodes a body that must be of a kind which goes with a subresource (`Binding`, `Scale`, …).
///
/// # Errors
/// As [`document`]; and 400 for a field of the wrong type.
pub(crate) fn companion(call: &Call, body: &[u8], gvk: &GroupVersionKind) -> Result<Object, Error> {
    let schema = resources::schema_of_kind(gvk)
        .ok_or_else(|| Error::internal(format!("{} has no structure", gvk.kind)))?;
    let mut object = document(&call.headers, body, &schema)?.object;
    structure::check(schema.types(), schema.id(), &mut object)?;
    call.notes.received(&object);
    Ok(object)
}

/// Decodes a body that must be an object of the row's kind. Texts for `Warning` headers are added
/// to `warnings`.
///
/// # Errors
/// 400 for what is no such object, 415 for a format that is not taken.
pub(crate) fn object(
    row: &Resource,
    call: &Call,
    body: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Error> {
    let decoded = document(&call.headers, body, &row.schema)
        .and_then(|decoded| named_type(row, decoded, body))
        .map_err(|error| unrecognized(row, body, error))?;
    let text = match body_format(&call.headers)? {
        BodyFormat::Json if row.schema.custom().is_none() => Text::TypedJson(body),
        BodyFormat::Yaml => Text::Yaml(body),
        _ => Text::Other,
    };
    let object = check((&row.gvk(), &row.schema), decoded, text, options, warnings)?;
    call.notes.received(&object);
    Ok(object)
}

/// Refuses an object of a custom kind that does not say its kind: only those of built-in kinds are what their path says
/// (`apimachinery/pkg/runtime/serializer/json`).
fn named_type(row: &Resource, decoded: Decoded, body: &[u8]) -> Result<Decoded, Error> {
    let kind = decoded.object.0.get("kind").filter(|kind| !kind.is_null());
    if row.schema.custom().is_none() || kind.is_some_and(|kind| kind.as_str() != Some("")) {
        return Ok(decoded);
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]);
    let more = if body.len() > SHOWN_BYTES { " ..." } else { "" };
    Err(Error::bad_request(format!("Object 'Kind' is missing in '{text}{more}'")))
}

/// Says of a body that cannot be read what it was to be, and how it begins, as upstream does.
fn unrecognized(row: &Resource, body: &[u8], error: Error) -> Error {
    if !error.is(Reason::BadRequest) {
        return error;
    }
    let start = &body[..body.len().min(SUMMARY_BYTES)];
    let summary = match body {
        [] => "<empty>".to_owned(),
        [b'{', ..] => String::from_utf8_lossy(start).into_owned(),
        _ => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let more = if body.len() > SUMMARY_BYTES { " ..." } else { "" };
    let (kind, why) = (&row.kind, &error.message);
    Error::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({summary}{more})"
    ))
}

/// Decodes the configuration of a server-side apply: YAML, of which JSON is a part.
///
/// # Errors
/// As [`object`]; and 400 when kind and version are not the row's.
pub(crate) fn applied(
    row: &Resource,
    body: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Error> {
    applied_as((&row.gvk(), &row.schema), body, options, warnings)
}

/// The same, of a configuration of the given kind.
///
/// # Errors
/// As [`applied`].
pub(crate) fn applied_as(
    (gvk, schema): (&GroupVersionKind, &Schema),
    body: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Error> {
    let json = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    let limits = Limits::default();
    // A brace can also open a mapping in YAML, whose keys need no quotes.
    let mut decoded = if json {
        codec::decode_json(body, &limits)
            .or_else(|error| codec::decode_yaml(body, &limits).map_err(|_| error))?
    } else {
        codec::decode_yaml(body, &limits)?
    };
    let (group, version) =
        decoded.object.api_version().rsplit_once('/').unwrap_or(("", decoded.object.api_version()));
    let told = GroupVersionKind::new(group, version, decoded.object.kind());
    if told != *gvk {
        return Err(Error::bad_request(format!("invalid object type: {told}")));
    }
    // Fields that the type does not have are refused whatever `fieldValidation` says, as upstream's merge cannot
    // place them.
    managed::typed::check(schema.types(), schema.id(), &decoded.object)?;
    let mut repeated = Vec::new();
    if !decoded.duplicates.is_empty() {
        repeated = codec::repeated_keys(body, &limits);
    }
    if !repeated.is_empty() {
        decoded.duplicates.clear();
    }
    let object = check((gvk, schema), decoded, Text::Other, options, warnings)?;
    match options.field_validation {
        FieldValidation::Strict if !repeated.is_empty() => Err(Error::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
            repeated.join("\n  ")
        ))),
        FieldValidation::Warn => {
            warnings.extend(repeated);
            Ok(object)
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(object),
    }
}

/// The text that an object was decoded from, as far as it tells what was given twice where.
enum Text<'b> {
    TypedJson(&'b [u8]),
    Yaml(&'b [u8]),
    Other,
}

fn check(
    (gvk, schema): (&GroupVersionKind, &Schema),
    decoded: Decoded,
    text: Text<'_>,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Error> {
    let mut object = decoded.object;
    settle_type(gvk, &mut object)?;
    let report = schema.check(&mut object)?;
    let repeated = match text {
        Text::Yaml(yaml) if !decoded.duplicates.is_empty() => codec::repeated_keys(yaml, &Limits::default()),
        _ => Vec::new(),
    };
    let strictness = match text {
        Text::TypedJson(json) => Strictness::of_typed_json(decoded.duplicates, report.unknown, json),
        Text::Yaml(_) if !repeated.is_empty() => Strictness::of_yaml(repeated, report.unknown),
        Text::Yaml(_) | Text::Other => Strictness::new(decoded.duplicates, report.unknown),
    };
    warnings.extend(strictness.judge(options.field_validation, &object)?);
    Ok(object)
}

/// Sets kind and version where the body names none, and refuses others than the expected ones.
fn settle_type(expected: &GroupVersionKind, object: &mut Object) -> Result<(), Error> {
    for field in ["apiVersion", "kind"] {
        let told = object.0.get(field).filter(|v| !v.is_null());
        if let Some(word) = told.filter(|v| !v.is_string()).map(codec::type_word) {
            return Err(Error::bad_request(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {word} into Go struct field .{field} of type string"
            )));
        }
    }
    let (api_version, kind) = (object.api_version(), object.kind());
    let is_custom = resources::schema_of_kind(expected).is_none();
    if api_version.is_empty() && kind.is_empty() {
        object.set_type(expected);
        return Ok(());
    }
    let own_version = expected.group_version().to_string();
    let right_version = api_version == own_version || (api_version.is_empty() && !is_custom);
    if right_version && (kind.is_empty() || kind == expected.kind) {
        object.set_type(expected);
        return Ok(());
    }
    let given = GroupVersion::parse(api_version).unwrap_or_else(|| GroupVersion::new("", api_version));
    if kind == expected.kind && (given.group == expected.group || is_custom) {
        return Err(Error::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({own_version})"
        )));
    }
    let why = if is_custom {
        format!("expected kind {:?} of {own_version:?}, got {kind:?}", expected.kind)
    } else {
        unconvertible(&given, kind, expected)
    };
    let version = given.version;
    Err(Error::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {}: {why}",
        expected.kind
    )))
}

/// Why what is given is no object of the expected kind, in upstream's words (`apimachinery/pkg/runtime/scheme.go`).
fn unconvertible(given: &GroupVersion, kind: &str, expected: &GroupVersionKind) -> String {
    if resources::schema_of_kind(&GroupVersionKind::new(&given.group, &given.version, kind)).is_none() {
        let scheme = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30";
        return format!(
            "no kind {kind:?} is registered for version {:?} in scheme {scheme:?}",
            given.to_string()
        );
    }
    // A group's own types are in the package of the first part of the group's name; events are the core group's.
    let package = match expected.group.split('.').next().unwrap_or_default() {
        "" | "events" => "core",
        other => other,
    };
    format!("converting ({}.{kind}) to ({package}.{}): unknown conversion", given.version, expected.kind)
}

/// The options in the body of a delete; `None` for an empty body.
pub(crate) fn delete_options(call: &Call, body: &[u8]) -> Result<Option<Object>, Error> {
    if body.is_empty() {
        return Ok(None);
    }
    let schema = resources::schema_of_structure("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        .ok_or_else(|| Error::internal("DeleteOptions has no structure"))?;
    let decoded = document(&call.headers, body, &schema)?;
    call.notes.received(&decoded.object);
    let kind = decoded.object.kind();
    if !kind.is_empty() && kind != "DeleteOptions" {
        return Err(Error::bad_request(format!("expected DeleteOptions in the body, got {kind}")));
    }
    Ok(Some(decoded.object))
}
