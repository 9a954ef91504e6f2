//! Selectors of a request as the scope of a list or watch.

use std::sync::Arc;

use api::Error;
use api::selector::{FieldSelector, LabelSelector};
use resources::Resource;

use crate::cache::{Entry, Filter, Scope};
use crate::request::call::Call;

/// What the request's path and selectors ask for.
///
/// # Errors
/// 400 when a selector cannot be parsed or names a field that cannot be selected by.
pub(crate) fn scope(row: &Resource, call: &Call) -> Result<Scope, Error> {
    let labels = match call.query.non_empty("labelSelector") {
        Some(text) => LabelSelector::parse(text)?,
        None => LabelSelector::default(),
    };
    let fields = match call.query.non_empty("fieldSelector") {
        Some(text) => FieldSelector::parse(text)?,
        None => FieldSelector::default(),
    };
    for requirement in fields.requirements() {
        check_field(row, &requirement.field)?;
    }
    let namespace = Some(call.info.namespace.clone()).filter(|n| !n.is_empty() && row.namespaced());
    let mut scope = Scope { namespace, ..Scope::default() };
    if !call.info.name.is_empty() {
        scope = scope.with("metadata.name", call.info.name.as_str());
    }
    for exact in fields.requirements().iter().filter(|requirement| !requirement.negated) {
        scope = scope.with(exact.field.clone(), exact.value.as_str());
    }
    scope.filter = filter(labels, fields);
    Ok(scope)
}

/// What is not said by exact values; `None` when nothing is.
fn filter(labels: LabelSelector, fields: FieldSelector) -> Option<Filter> {
    let unequal = fields.requirements().iter().any(|requirement| requirement.negated);
    if labels.is_everything() && !unequal {
        return None;
    }
    Some(Arc::new(move |entry: &Entry| {
        (!unequal || fields.matches(|field| entry.field(field)))
            && (labels.is_everything() || labels.matches(|key| entry.label(key)))
    }))
}

fn check_field(row: &Resource, field: &str) -> Result<(), Error> {
    let known = field == "metadata.name"
        // As upstream: kinds without fields of their own take both, also where objects live in no namespace.
        || (field == "metadata.namespace" && (row.namespaced() || row.selectable_fields.is_empty()))
        || row.selectable_fields.iter().any(|known| known.name == field);
    if known {
        return Ok(());
    }
    Err(Error::bad_request(if row.selectable_fields.is_empty() && row.schema.custom().is_none() {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    }))
}
