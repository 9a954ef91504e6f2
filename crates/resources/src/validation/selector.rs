//! Label selectors: operators, values and the grammar of labels.

use api::field::{ErrorList, FieldError, Path};
use api::names;
use api::selector::LabelSelector;
use serde_json::Value;

use super::{check, read};

/// A label selector object. `None` where it is absent is no error.
pub(super) fn label_selector(errors: &mut ErrorList, path: &Path<'_>, selector: Option<&Value>) {
    let Some(selector) = selector else { return };
    check::labels(errors, &path.child("matchLabels"), read::pairs(selector, "matchLabels"));
    let expressions = path.child("matchExpressions");
    for (i, expression) in read::list(selector, "matchExpressions").iter().enumerate() {
        requirement(errors, &expressions.index(i), expression);
    }
}

fn requirement(errors: &mut ErrorList, path: &Path<'_>, requirement: &Value) {
    let values = read::list(requirement, "values");
    match read::text(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
            &path.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            errors.push(FieldError::invalid(&path.child("operator"), other, "not a valid selector operator"))
        }
    }
    let key = read::text(requirement, "key");
    check::faults(errors, &path.child("key"), key, names::qualified_name(key));
    let values_path = path.child("values");
    for (i, value) in read::texts(requirement, "values").enumerate() {
        check::faults(errors, &values_path.index(i), value, names::label_value(value));
    }
}

/// Whether a selector object is empty, so that it selects everything.
pub(super) fn is_empty(selector: &Value) -> bool {
    read::entries(selector, "matchLabels").next().is_none()
        && read::list(selector, "matchExpressions").is_empty()
}

/// Whether labels are selected; `None` when the selector is malformed.
pub(super) fn matches(selector: &Value, labels: &Value) -> Option<bool> {
    let selector = LabelSelector::from_object(selector).ok()?;
    Some(selector.matches(|key| labels.get(key).and_then(Value::as_str)))
}
