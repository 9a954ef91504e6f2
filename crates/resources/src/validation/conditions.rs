//! Conditions of the form that all kinds share. Facts: upstream's `apimachinery/pkg/apis/meta/v1/validation`
//! (`ValidateConditions`).

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const MAX_REASON_BYTES: usize = 1024;
const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// The conditions of a status.
pub(super) fn conditions(errors: &mut ErrorList, path: &Path<'_>, status: &Value) {
    let path = path.child("conditions");
    let mut seen = HashSet::new();
    for (i, condition) in read::list(status, "conditions").iter().enumerate() {
        let at = path.index(i);
        let kind = read::text(condition, "type");
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        check::faults(errors, &at.child("type"), kind, names::qualified_name(kind));
        let said = read::text(condition, "status");
        if !STATUSES.contains(&said) {
            errors.push(FieldError::not_supported(&at.child("status"), said, &STATUSES));
        }
        if let Some(generation) = read::int(condition, "observedGeneration").filter(|g| *g < 0) {
            let detail = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(&at.child("observedGeneration"), generation, detail));
        }
        if read::get(condition, "lastTransitionTime").is_none() {
            errors.push(FieldError::required(&at.child("lastTransitionTime"), "must be set"));
        }
        reason(errors, &at.child("reason"), read::text(condition, "reason"));
        if read::text(condition, "message").len() > MAX_MESSAGE_BYTES {
            errors.push(FieldError::too_long(&at.child("message"), MAX_MESSAGE_BYTES));
        }
    }
}

fn reason(errors: &mut ErrorList, path: &Path<'_>, reason: &str) {
    if reason.is_empty() {
        errors.push(FieldError::required(path, "must be set"));
        return;
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = reason.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let ends = reason.bytes().last().is_some_and(word);
    if !starts || !ends || !reason.bytes().all(|byte| word(byte) || matches!(byte, b',' | b':')) {
        let detail = names::regex_message(
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
            "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
            &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
        );
        errors.push(FieldError::invalid(path, reason, detail));
    }
    if reason.len() > MAX_REASON_BYTES {
        errors.push(FieldError::too_long(path, MAX_REASON_BYTES));
    }
}
