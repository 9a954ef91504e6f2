//! From a request's body to an object of the row's kind and version, its structure checked.

use api::codec::{self, Decoded, Limits, Strictness, structure};
use api::{Error, Object};
use http::HeaderMap;
use resources::Resource;

use super::options::WriteOptions;
use crate::negotiate::{BodyFormat, body_format};

/// Decodes a body that must be an object of the row's kind. Texts for `Warning` headers are added
/// to `warnings`.
///
/// # Errors
/// 400 for what is no such object, 415 for a format that is not taken.
pub(crate) fn object(
    row: &Resource,
    headers: &HeaderMap,
    body: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Error> {
    let limits = Limits::default();
    let decoded = match body_format(headers)? {
        BodyFormat::Json => codec::decode_json(body, &limits)?,
        BodyFormat::Yaml => codec::decode_yaml(body, &limits)?,
    };
    check(row, decoded, options, warnings)
}

/// Decodes the configuration of a server-side apply: YAML, of which JSON is a part.
///
/// # Errors
/// As [`object`]; and 400 when kind or version is missing.
pub(crate) fn applied(
    row: &Resource,
    body: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Error> {
    let json = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    let limits = Limits::default();
    let decoded = if json { codec::decode_json(body, &limits)? } else { codec::decode_yaml(body, &limits)? };
    if decoded.object.api_version().is_empty() || decoded.object.kind().is_empty() {
        return Err(Error::bad_request("the applied configuration must name its apiVersion and kind"));
    }
    check(row, decoded, options, warnings)
}

fn check(
    row: &Resource,
    decoded: Decoded,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Error> {
    let mut object = decoded.object;
    settle_type(row, &mut object)?;
    let report = structure::check(resources::types(), row.schema, &mut object)?;
    let strictness = Strictness { duplicates: decoded.duplicates, unknown: report.unknown };
    warnings.extend(strictness.judge(options.field_validation, &object)?);
    Ok(object)
}

/// Sets kind and version where the body names none, and refuses others than the row's.
fn settle_type(row: &Resource, object: &mut Object) -> Result<(), Error> {
    let expected = row.gvk();
    let (api_version, kind) = (object.api_version(), object.kind());
    if api_version.is_empty() && kind.is_empty() {
        object.set_type(&expected);
        return Ok(());
    }
    let own_version = expected.group_version().to_string();
    if (api_version.is_empty() || api_version == own_version) && (kind.is_empty() || kind == expected.kind) {
        object.set_type(&expected);
        return Ok(());
    }
    if kind == expected.kind {
        return Err(Error::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({own_version})"
        )));
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    Err(Error::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {}: expected kind {:?} of {own_version:?}, got {kind:?}{}",
        expected.kind,
        expected.kind,
        if group.is_empty() { String::new() } else { format!(" of group {group:?}") },
    )))
}

/// The options in the body of a delete; `None` for an empty body.
pub(crate) fn delete_options(headers: &HeaderMap, body: &[u8]) -> Result<Option<Object>, Error> {
    if body.is_empty() {
        return Ok(None);
    }
    let decoded = match body_format(headers)? {
        BodyFormat::Json => codec::decode_json(body, &Limits::default())?,
        BodyFormat::Yaml => codec::decode_yaml(body, &Limits::default())?,
    };
    let kind = decoded.object.kind();
    if !kind.is_empty() && kind != "DeleteOptions" {
        return Err(Error::bad_request(format!("expected DeleteOptions in the body, got {kind}")));
    }
    Ok(Some(decoded.object))
}
