//! Indexes of a cache: which objects belong to a value, updated as objects are added, changed and removed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Item;
use crate::Key;

/// Calls its second argument with each value under which an index finds the object.
pub(super) type ValuesOf = Arc<dyn Fn(&Arc<Item>, &mut dyn FnMut(&str)) + Send + Sync>;

pub(super) struct IndexState {
    pub name: &'static str,
    values_of: ValuesOf,
    keys: HashMap<Arc<str>, BTreeSet<Key>>,
}

impl IndexState {
    pub fn new(name: &'static str, values_of: ValuesOf) -> Self {
        Self { name, values_of, keys: HashMap::new() }
    }

    fn values(&self, item: &Arc<Item>) -> Vec<Box<str>> {
        let mut values: Vec<Box<str>> = Vec::new();
        (self.values_of)(item, &mut |value| {
            if !values.iter().any(|held| **held == *value) {
                values.push(value.into());
            }
        });
        values
    }

    /// Records that an object was added, changed or removed. The cost depends on the number of the object's own values
    /// only.
    pub fn update(&mut self, old: Option<&Arc<Item>>, new: Option<&Arc<Item>>) {
        let before = old.map(|item| self.values(item)).unwrap_or_default();
        let after = new.map(|item| self.values(item)).unwrap_or_default();
        if let Some(item) = old {
            for value in before.iter().filter(|value| !after.contains(value)) {
                if let Some(keys) = self.keys.get_mut(&**value) {
                    keys.remove(&item.meta().key);
                    if keys.is_empty() {
                        self.keys.remove(&**value);
                    }
                }
            }
        }
        if let Some(item) = new {
            for value in after.iter().filter(|value| !before.contains(value)) {
                let key = item.meta().key.clone();
                match self.keys.get_mut(&**value) {
                    Some(keys) => drop(keys.insert(key)),
                    None => drop(self.keys.insert((&**value).into(), BTreeSet::from([key]))),
                }
            }
        }
    }

    pub fn keys(&self, value: &str) -> impl Iterator<Item = &Key> {
        self.keys.get(value).into_iter().flatten()
    }

    pub fn count(&self, value: &str) -> usize {
        self.keys.get(value).map_or(0, BTreeSet::len)
    }
}
