//! The objects of a resource, in the order of their keys and by the values of the trigger fields.

use std::collections::HashMap;
use std::sync::Arc;

use super::objects::Objects;
use super::resource_spec::ResourceSpec;
use super::{Entry, Scope};

#[derive(Default)]
pub(super) struct Collection {
    all: Objects,
    /// What the JSON of all objects takes in memory.
    bytes: usize,
    /// For each trigger field, by its place among the spec's fields: those that have a value there.
    by_field: Vec<(usize, HashMap<Box<str>, Objects>)>,
}

impl Collection {
    pub fn new(spec: &ResourceSpec) -> Self {
        let by_field = spec.triggers.iter().map(|index| (*index, HashMap::new())).collect();
        Self { all: Objects::default(), bytes: 0, by_field }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// What the JSON of all objects takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.all.get(key)
    }

    /// Puts the entry in the place of its key; gives what stood there.
    pub fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let previous = self.all.insert(entry.clone());
        self.bytes += entry.json.held_bytes();
        self.bytes -= previous.as_ref().map_or(0, |previous| previous.json.held_bytes());
        for (index, values) in &mut self.by_field {
            let value = entry.field_at(*index);
            if let Some(previous) = previous.as_ref().filter(|previous| previous.field_at(*index) != value) {
                remove(values, previous, *index);
            }
            if value.is_empty() {
                continue;
            }
            match values.get_mut(value) {
                Some(objects) => drop(objects.insert(entry.clone())),
                None => drop(values.entry(value.into()).or_default().insert(entry.clone())),
            }
        }
        previous
    }

    pub fn remove(&mut self, key: &str) -> Option<Arc<Entry>> {
        let removed = self.all.remove(key)?;
        self.bytes -= removed.json.held_bytes();
        for (index, values) in &mut self.by_field {
            remove(values, &removed, *index);
        }
        Some(removed)
    }

    /// The objects that a scope needs to be looked for in: those of a trigger field's value where it wants one
    /// exactly, else all. As they are now; later changes do not show.
    pub fn narrowed(&self, spec: &ResourceSpec, scope: &Scope) -> Objects {
        let wanted = |(index, values): &'_ (usize, HashMap<Box<str>, Objects>)| {
            // Without a value they are not kept.
            let value = scope.exact(spec.field_names.get(*index)?).filter(|value| !value.is_empty())?;
            Some(values.get(value).cloned().unwrap_or_default())
        };
        self.by_field.iter().find_map(wanted).unwrap_or_else(|| self.all.clone())
    }
}

fn remove(values: &mut HashMap<Box<str>, Objects>, entry: &Entry, index: usize) {
    let value = entry.field_at(index);
    if let Some(objects) = values.get_mut(value) {
        objects.remove(&entry.key);
        if objects.len() == 0 {
            values.remove(value);
        }
    }
}
