//! Checks many kinds share, with upstream's words.

use std::net::IpAddr;

use api::field::{ErrorList, FieldError, Path};
use api::names::{self, Faults};
use serde_json::Value;

pub(super) const NEGATIVE: &str = "must be greater than or equal to 0";
pub(super) const NOT_POSITIVE: &str = "must be greater than zero";
pub(crate) const IMMUTABLE: &str = "field is immutable";
/// The largest id of a user or group.
const MAX_ID: i64 = i32::MAX as i64;

/// Adds the faults that a grammar finds in a value.
pub(super) fn faults(errors: &mut ErrorList, path: &Path<'_>, value: &str, faults: Faults) {
    errors.extend(faults.into_iter().map(|fault| FieldError::invalid(path, value, fault)));
}

/// Whether the text is present; else adds an error that it is required.
pub(super) fn required(errors: &mut ErrorList, path: &Path<'_>, value: &str) -> bool {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    !value.is_empty()
}

/// Required and one of the supported values.
pub(super) fn one_of(errors: &mut ErrorList, path: &Path<'_>, value: &str, supported: &[&str]) {
    if required(errors, path, value) {
        if_given_one_of(errors, path, value, supported);
    }
}

/// One of the supported values; the empty text is no value.
pub(super) fn if_given_one_of(errors: &mut ErrorList, path: &Path<'_>, value: &str, supported: &[&str]) {
    if !value.is_empty() && !supported.contains(&value) {
        errors.push(FieldError::not_supported(path, value, supported));
    }
}

pub(super) fn nonnegative(errors: &mut ErrorList, path: &Path<'_>, value: Option<i64>) {
    if let Some(value) = value.filter(|v| *v < 0) {
        errors.push(FieldError::invalid(path, value, NEGATIVE));
    }
}

/// The number of a user or group.
pub(super) fn id(errors: &mut ErrorList, path: &Path<'_>, value: Option<i64>) {
    if let Some(value) = value.filter(|v| !(0..=MAX_ID).contains(v)) {
        errors.push(FieldError::invalid(path, value, names::range_message(0, MAX_ID)));
    }
}

pub(super) fn port(errors: &mut ErrorList, path: &Path<'_>, value: i64) {
    for fault in names::port_number(value) {
        errors.push(FieldError::invalid(path, value, fault));
    }
}

/// The number or name of a port.
pub(super) fn port_or_name(errors: &mut ErrorList, path: &Path<'_>, value: Option<&Value>) {
    match value {
        Some(Value::String(name)) => faults(errors, path, name, names::port_name(name)),
        other => port(errors, path, other.and_then(Value::as_i64).unwrap_or(0)),
    }
}

/// Labels: their keys and values.
pub(super) fn labels<'a>(
    errors: &mut ErrorList,
    path: &Path<'_>,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) {
    for (key, value) in labels {
        faults(errors, path, key, names::qualified_name(key));
        faults(errors, path, value, names::label_value(value));
    }
}

/// Annotations of a template: keys, and the size of all together.
pub(super) fn annotations<'a>(
    errors: &mut ErrorList,
    path: &Path<'_>,
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
) {
    const MAX_BYTES: usize = 256 * 1024;
    let mut total = 0;
    for (key, value) in annotations {
        faults(errors, path, key, names::qualified_name(&key.to_lowercase()));
        total += key.len() + value.len();
    }
    if total > MAX_BYTES {
        errors.push(FieldError::too_long(path, MAX_BYTES));
    }
}

pub(super) fn unchanged(errors: &mut ErrorList, path: &Path<'_>, new: Option<&Value>, old: Option<&Value>) {
    let given = |v: Option<&Value>| v.filter(|v| !v.is_null()).cloned();
    if given(new) != given(old) {
        errors.push(FieldError::invalid(path, new.cloned().unwrap_or(Value::Null), IMMUTABLE));
    }
}

pub(super) fn ip(errors: &mut ErrorList, path: &Path<'_>, value: &str) {
    if value.parse::<IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(path, value, detail));
    }
}

pub(super) fn cidr(errors: &mut ErrorList, path: &Path<'_>, value: &str) {
    let valid = value.split_once('/').is_some_and(|(address, length)| {
        let canonical = !length.starts_with('+');
        let length = length.parse::<u8>().ok().filter(|_| canonical);
        match (address.parse::<IpAddr>(), length) {
            (Ok(IpAddr::V4(_)), Some(length)) => length <= 32,
            (Ok(IpAddr::V6(_)), Some(length)) => length <= 128,
            _ => false,
        }
    });
    if !valid {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.push(FieldError::invalid(path, value, detail));
    }
}

/// A path inside a volume or directory.
pub(super) fn descending_path(errors: &mut ErrorList, path: &Path<'_>, value: &str) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(errors, path, value);
}

pub(super) fn no_backsteps(errors: &mut ErrorList, path: &Path<'_>, value: &str) {
    if value.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}

/// A path inside a volume whose own files begin with two dots.
pub(super) fn non_reserved_path(errors: &mut ErrorList, path: &Path<'_>, value: &str) {
    descending_path(errors, path, value);
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

/// The mode of a file.
pub(super) fn file_mode(errors: &mut ErrorList, path: &Path<'_>, mode: Option<i64>) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(path, mode, detail));
    }
}
