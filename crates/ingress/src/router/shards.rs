//! [`Shards`]: a map by name for many readers and one writer.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;

/// So many that the copy of one, made at each change, stays small with ten thousand names.
const SHARDS: usize = 64;

type Shard<V> = ArcSwap<HashMap<Box<str>, V>>;

/// A map in parts, each of which is copied when one of its names changes. Readers never wait.
#[derive(Debug)]
pub(super) struct Shards<V> {
    shards: [Shard<V>; SHARDS],
    hasher: RandomState,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| ArcSwap::default()), hasher: RandomState::new() }
    }
}

impl<V: Clone> Shards<V> {
    fn shard(&self, name: &str) -> &Shard<V> {
        let hash = usize::try_from(self.hasher.hash_one(name) % (SHARDS as u64)).unwrap_or(0);
        &self.shards[hash]
    }

    pub fn get(&self, name: &str) -> Option<V> {
        self.shard(name).load().get(name).cloned()
    }

    /// One writer at a time: of two at once, one may be lost.
    pub fn replace(&self, name: &str, value: Option<V>) {
        let shard = self.shard(name);
        let mut next = HashMap::clone(&shard.load());
        match value {
            Some(value) => drop(next.insert(name.into(), value)),
            None if next.remove(name).is_none() => return,
            None => {}
        }
        shard.store(Arc::new(next));
    }
}
