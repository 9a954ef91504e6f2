//! Selectors of a request as the scope of a list or watch.

use std::sync::Arc;

use api::Error;
use api::selector::{FieldRequirement, FieldSelector, LabelSelector};
use resources::Resource;

use super::storage::Target;
use crate::cache::specs::fields_of;
use crate::cache::{Entry, Extract, Filter, Scope};
use crate::request::call::Call;

/// What a list or watch selects.
pub(crate) struct Selection {
    pub scope: Scope,
    /// What is to be asked of the objects in the scope beside, in the form in which they are shown.
    pub served: Option<Served>,
}

/// Requirements on fields that objects may have in the row's version alone: what the cache knows is the stored form.
pub(crate) struct Served {
    /// Each with its field's place among those of the row.
    requirements: Vec<(usize, FieldRequirement)>,
    extract: Extract,
}

impl Served {
    /// Of each object, whether it is selected.
    ///
    /// # Errors
    /// When an object cannot be converted to the row's version.
    pub(crate) async fn select(&self, target: &Target, entries: &[Arc<Entry>]) -> Result<Vec<bool>, Error> {
        match target.converted(entries).await? {
            Some(shown) => Ok(shown.iter().map(|json| self.matches(json)).collect()),
            None => Ok(entries.iter().map(|entry| self.matches(&entry.json.lean())).collect()),
        }
    }

    /// Whether an object is selected that is shown as this JSON.
    pub(crate) fn matches(&self, json: &[u8]) -> bool {
        let found = (self.extract)(json).unwrap_or_default();
        let value = |index: usize| found.fields.get(index).map_or("", String::as_str);
        self.requirements.iter().all(|(index, wanted)| (value(*index) == wanted.value) != wanted.negated)
    }
}

/// What the request's path and selectors ask for, of objects that are shown as they are stored.
///
/// # Errors
/// 400 when a selector cannot be parsed or names a field that cannot be selected by.
pub(crate) fn scope(row: &Resource, call: &Call) -> Result<Scope, Error> {
    read(row, call, |_| None).map(|selection| selection.scope)
}

/// What the request's path and selectors ask for.
///
/// # Errors
/// As [`scope`].
pub(crate) fn selection(target: &Target, call: &Call) -> Result<Selection, Error> {
    let row = &target.row;
    // Of built-in kinds, the fields are the same ones in all versions.
    let differs = target.converts() && row.schema.custom().is_some();
    let place = |name: &str| row.selectable_fields.iter().position(|field| field.name == name);
    read(row, call, |field| place(field).filter(|_| differs))
}

/// `served` gives the place of a field whose value has to be looked for in what is shown.
fn read(row: &Resource, call: &Call, served: impl Fn(&str) -> Option<usize>) -> Result<Selection, Error> {
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
    let (mut requirements, mut unequal) = (Vec::new(), Vec::new());
    for requirement in fields.requirements() {
        match served(&requirement.field) {
            Some(place) => requirements.push((place, requirement.clone())),
            None if requirement.negated => unequal.push(requirement.clone()),
            None => scope = scope.with(requirement.field.clone(), requirement.value.as_str()),
        }
    }
    scope.filter = filter(labels, FieldSelector::of(unequal));
    let served = (!requirements.is_empty())
        .then(|| Served { requirements, extract: fields_of(row.selectable_fields.iter()) });
    Ok(Selection { scope, served })
}

/// What is not said by exact values; `None` when nothing is.
fn filter(labels: LabelSelector, unequal: FieldSelector) -> Option<Filter> {
    let all_fields = unequal.requirements().is_empty();
    if labels.is_everything() && all_fields {
        return None;
    }
    Some(Arc::new(move |entry: &Entry| {
        (all_fields || unequal.matches(|field| entry.field(field)))
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
