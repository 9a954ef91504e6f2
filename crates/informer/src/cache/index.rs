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
    keys: HashMap<Arc<str>, Keys>,
}

/// The keys of a value. Many indexes have one key to a value, and the nodes of a tree have room for eleven.
enum Keys {
    One(Key),
    Many(BTreeSet<Key>),
}

impl Keys {
    fn insert(&mut self, key: Key) {
        match self {
            Self::One(held) if *held == key => {}
            Self::One(held) => *self = Self::Many(BTreeSet::from([held.clone(), key])),
            Self::Many(keys) => drop(keys.insert(key)),
        }
    }

    /// Returns whether keys are left.
    fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::One(held) => held != key,
            Self::Many(keys) => {
                keys.remove(key);
                !keys.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Key> {
        let (one, many) = match self {
            Self::One(key) => (Some(key), None),
            Self::Many(keys) => (None, Some(keys)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(keys) => keys.len(),
        }
    }
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
                if let Some(keys) = self.keys.get_mut(&**value)
                    && !keys.remove(&item.meta().key)
                {
                    self.keys.remove(&**value);
                }
            }
        }
        if let Some(item) = new {
            for value in after.iter().filter(|value| !before.contains(value)) {
                let key = item.meta().key.clone();
                match self.keys.get_mut(&**value) {
                    Some(keys) => keys.insert(key),
                    None => drop(self.keys.insert((&**value).into(), Keys::One(key))),
                }
            }
        }
    }

    pub fn keys(&self, value: &str) -> impl Iterator<Item = &Key> {
        self.keys.get(value).into_iter().flat_map(Keys::iter)
    }

    pub fn count(&self, value: &str) -> usize {
        self.keys.get(value).map_or(0, Keys::len)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn item(name: &str, value: &str) -> Arc<Item> {
        let json = format!(r#"{{"metadata":{{"name":"{name}","labels":{{"v":"{value}"}}}}}}"#);
        Arc::new(Item::read(Bytes::from(json)).expect("an object"))
    }

    #[test]
    fn values_gain_and_lose_keys_one_at_a_time() {
        let mut index =
            IndexState::new("v", Arc::new(|item, found| found(item.meta().label("v").unwrap_or(""))));
        let names = |index: &IndexState, value: &str| {
            index.keys(value).map(|key| key.name.to_string()).collect::<Vec<_>>()
        };
        let (a, b) = (item("a", "x"), item("b", "x"));
        for added in [&b, &a, &a] {
            index.update(None, Some(added));
        }
        assert_eq!((names(&index, "x"), index.count("x")), (vec!["a".to_owned(), "b".to_owned()], 2));
        index.update(Some(&b), Some(&item("b", "y")));
        assert_eq!((names(&index, "x"), names(&index, "y")), (vec!["a".to_owned()], vec!["b".to_owned()]));
        index.update(Some(&item("b", "x")), None);
        assert_eq!(index.count("x"), 1, "b is not there any more");
        index.update(Some(&a), None);
        assert_eq!((index.count("x"), index.keys.len()), (0, 1), "no empty value is kept");
    }
}
