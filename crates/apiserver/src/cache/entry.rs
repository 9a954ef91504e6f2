//! One object, decoded once: its bytes, and the values that selectors refer to.

use std::fmt;
use std::sync::Arc;

use store::Revision;

use super::resource_spec::ResourceSpec;
use super::{Extracted, Json};

/// An object at one revision. Never changes.
pub struct Entry {
    /// The store's key.
    pub key: Arc<str>,
    /// The commit that wrote it; for the last state of a deleted object, the commit that deleted it.
    pub revision: Revision,
    /// The whole object as it is stored, with `metadata.resourceVersion`.
    pub json: Json,
    spec: Arc<ResourceSpec>,
    /// Labels as `key NUL value NUL …`, then the fields' values as `value NUL …`: one allocation.
    text: Box<str>,
    fields_at: u32,
}

impl Entry {
    /// Looks into a stored value; `None` when it is no JSON object, which is logged.
    pub(super) fn new(
        spec: &Arc<ResourceSpec>,
        key: Arc<str>,
        value: &[u8],
        revision: Revision,
    ) -> Option<Arc<Self>> {
        let Some(json) = Json::read(value, revision, &spec.templates) else {
            tracing::error!(%key, revision, "a stored value is no JSON object");
            return None;
        };
        let found = match (spec.extract)(&json.lean()) {
            Ok(found) => found,
            Err(error) if error.is_data() => {
                tracing::error!(%key, revision, %error, "a stored object is odd; no selector finds it");
                Extracted::default()
            }
            Err(error) => {
                tracing::error!(%key, revision, %error, "a stored object is broken");
                return None;
            }
        };
        let mut text = String::new();
        for (key, value) in &found.labels {
            add_part(&mut text, key);
            add_part(&mut text, value);
        }
        let fields_at = text.len() as u32;
        for value in &found.fields {
            add_part(&mut text, value);
        }
        Some(Arc::new(Self { key, revision, json, spec: spec.clone(), text: text.into(), fields_at }))
    }

    /// The same object as if a later commit had written it.
    pub(super) fn at_revision(&self, revision: Revision) -> Arc<Self> {
        Arc::new(Self {
            key: self.key.clone(),
            revision,
            json: self.json.at_revision(self.revision, revision),
            spec: self.spec.clone(),
            text: self.text.clone(),
            fields_at: self.fields_at,
        })
    }

    /// Empty for objects that live in none.
    pub fn namespace(&self) -> &str {
        self.spec.split(&self.key).0
    }

    pub fn name(&self) -> &str {
        self.spec.split(&self.key).1
    }

    /// In the order of their keys.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.text[..self.fields_at as usize].split_terminator('\0');
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The value of a selectable field by the name selectors use; `None` for a field that is not selectable.
    /// An absent value is the empty string.
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "metadata.name" => return Some(self.name()),
            "metadata.namespace" => return Some(self.namespace()),
            _ => {}
        }
        let index = self.spec.field_names.iter().position(|n| n == name)?;
        Some(self.field_at(index))
    }
}

impl Entry {
    /// The value of the field at that place among the spec's.
    pub(super) fn field_at(&self, index: usize) -> &str {
        // Without values the object could not be read.
        self.text[self.fields_at as usize..].split_terminator('\0').nth(index).unwrap_or_default()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// Neither labels nor fields may hold NUL; one that does must not shift the others.
fn add_part(text: &mut String, part: &str) {
    text.extend(part.chars().filter(|c| *c != '\0'));
    text.push('\0');
}
