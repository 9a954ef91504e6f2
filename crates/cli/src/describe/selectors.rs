//! Label selectors as text.

use api::selector::LabelSelector;
use serde_json::Value;

use super::fields::Fields as _;
use super::related::RelatedError;

/// A plain map of labels in one line.
pub fn map(object: &Value, path: &str) -> String {
    let parts: Vec<String> = object
        .entries(path)
        .into_iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

/// A `LabelSelector` object as a selector of requests.
///
/// # Errors
/// When it is malformed.
pub fn strict(object: &Value, path: &str) -> Result<LabelSelector, RelatedError> {
    LabelSelector::from_object(object.at(path).unwrap_or(&Value::Null))
        .map_err(|error| RelatedError { reason: "BadRequest".to_owned(), message: error.to_string() })
}

/// A `LabelSelector` object for people.
pub fn shown(object: &Value, path: &str) -> String {
    match strict(object, path) {
        Ok(selector) => match selector.to_string() {
            text if text.is_empty() => "<none>".to_owned(),
            text => text,
        },
        Err(_) => "<error>".to_owned(),
    }
}
