//! Selectors of a request as a filter over cache entries.

use std::sync::Arc;

use api::Error;
use api::selector::{FieldSelector, LabelSelector};
use resources::Resource;

use crate::cache::{Entry, Filter};
use crate::call::Call;

/// The selectors of a list or watch.
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The one name asked for.
    pub name: Option<String>,
}

impl Selection {
    /// # Errors
    /// 400 when a selector cannot be parsed or names a field that cannot be selected by.
    pub(crate) fn parse(row: &Resource, call: &Call) -> Result<Self, Error> {
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
        let name = fields.exact("metadata.name").map(str::to_owned);
        let name = name.or_else(|| Some(call.info.name.clone()).filter(|n| !n.is_empty()));
        Ok(Self { labels, fields, name })
    }

    /// The filter; `None` when everything is selected.
    pub(crate) fn filter(self) -> Option<Filter> {
        let Self { labels, fields, name } = self;
        if labels.is_everything() && fields.is_everything() && name.is_none() {
            return None;
        }
        Some(Arc::new(move |entry: &Entry| {
            name.as_deref().is_none_or(|name| entry.name() == name)
                && (fields.is_everything() || fields.matches(|field| entry.field(field)))
                && (labels.is_everything() || labels.matches(|key| entry.label(key)))
        }))
    }
}

fn check_field(row: &Resource, field: &str) -> Result<(), Error> {
    let known = field == "metadata.name"
        || (field == "metadata.namespace" && row.namespaced())
        || row.selectable_fields.iter().any(|known| known.name == field);
    if known {
        return Ok(());
    }
    Err(Error::bad_request(if row.selectable_fields.is_empty() {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    }))
}
