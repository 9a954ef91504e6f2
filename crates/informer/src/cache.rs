//! [`Cache`]: the objects of one kind, as last seen on the watch.
//!
//! Objects are held once, as the bytes the API server sent ([`Item`]; within one process these are the watch
//! cache's own bytes), beside the fields that are read often: [`Meta`], a [`View`] of the kind, and
//! [`Index`]es. Typed objects are decoded when a round needs them and dropped with the round.
//!
//! Never here: a kind's name.

mod index;
mod item;
mod meta;
mod objects;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::Arc;

pub use item::{Cached, Item, View};
pub use meta::{Labels, Meta, Owner};
pub use objects::{Change, Objects};

use crate::{Key, Kind};

/// A change of a cached object, as handlers see it. Handlers run in the watch's task: they enqueue, no more.
#[derive(Debug, Clone)]
pub enum Delta<K> {
    Applied { new: Cached<K>, old: Option<Cached<K>> },
    Deleted(Cached<K>),
}

impl<K: Kind> Delta<K> {
    fn of(change: &Change) -> Self {
        let new = Cached::new(change.item.clone());
        if change.gone {
            return Self::Deleted(new);
        }
        Self::Applied { new, old: change.old.clone().map(Cached::new) }
    }

    /// The newest known state of the object.
    pub fn object(&self) -> &Cached<K> {
        match self {
            Self::Applied { new, .. } | Self::Deleted(new) => new,
        }
    }

    /// The state before the change, of an object that is still there.
    pub fn old(&self) -> Option<&Cached<K>> {
        match self {
            Self::Applied { old, .. } => old.as_ref(),
            Self::Deleted(_) => None,
        }
    }
}

/// A cache kept up to date by a watch. Cheap to clone; reads never wait for the network.
pub struct Cache<K> {
    objects: Objects,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), kind: PhantomData }
    }
}

impl<K: Kind> Default for Cache<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Kind> Cache<K> {
    /// An empty cache that nothing feeds, for tests.
    pub fn new() -> Self {
        Self::over(Objects::default())
    }

    pub(crate) fn over(objects: Objects) -> Self {
        Self { objects, kind: PhantomData }
    }

    /// The same objects under no type.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The typed object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&Key::new(namespace, name))
    }

    /// The typed object.
    pub fn get_key(&self, key: &Key) -> Option<Arc<K>> {
        self.objects.get(key)?.decode().map(|decoded| decoded.object)
    }

    /// The object, not decoded.
    pub fn find(&self, key: &Key) -> Option<Cached<K>> {
        self.objects.get(key).map(Cached::new)
    }

    /// How many changes there have been: what was made of the objects is up to date while this number is the same.
    pub fn changes(&self) -> u64 {
        self.objects.changes()
    }

    /// Whether the cache holds the object.
    pub fn has(&self, key: &Key) -> bool {
        self.objects.get(key).is_some()
    }

    /// The objects of a namespace whose names begin with `prefix`, in the order of their names.
    pub fn named_like(&self, namespace: &str, prefix: &str) -> Vec<Cached<K>> {
        self.objects.range(Some(namespace), prefix).into_iter().map(Cached::new).collect()
    }

    /// Whether a namespace has any object.
    pub fn any_in(&self, namespace: &str) -> bool {
        self.objects.any_in(namespace)
    }

    /// All objects in key order. The cost of a scan grows with the cluster: `why` states why the caller
    /// cannot look up what it needs.
    pub fn scan(&self, why: &'static str) -> Vec<Cached<K>> {
        tracing::trace!(kind = %K::kind(&()), why, "scan");
        self.objects.range(None, "").into_iter().map(Cached::new).collect()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The index `name`, which finds objects by the values that `values_of` passes to its second argument. Made at
    /// the first call from the objects in the cache and updated as objects change; later calls with the same name
    /// return the same index, so a name stands for one function.
    pub fn index(
        &self,
        name: &'static str,
        values_of: impl Fn(&Cached<K>, &mut dyn FnMut(&str)) + Send + Sync + 'static,
    ) -> Index<K> {
        let values: index::ValuesOf =
            Arc::new(move |item, found| values_of(&Cached::new(item.clone()), found));
        Index { objects: self.objects.clone(), at: self.objects.index(name, values), kind: PhantomData }
    }

    /// Objects by the uid of the owner that controls them.
    pub fn by_controller(&self) -> Index<K> {
        self.index("controller", |object, found| {
            if let Some(owner) = object.controller() {
                found(&owner.uid);
            }
        })
    }

    /// Calls `handler` for every object in the cache, and then for every change.
    pub fn subscribe(&self, handler: impl Fn(&Delta<K>) + Send + Sync + 'static) {
        self.objects.subscribe(move |change| handler(&Delta::of(change)));
    }

    /// Waits for the first complete list. Cancellation safe.
    pub async fn wait_synced(&self) {
        self.objects.wait_synced().await;
    }

    /// Waits until `condition` holds, looking again after every change. Cancellation safe.
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        self.objects.wait_until(|| condition(self)).await;
    }

    /// Puts a typed object in: for tests.
    ///
    /// # Panics
    /// When the object cannot be written as JSON.
    pub fn apply(&self, object: K) {
        let json = serde_json::to_vec(&object).expect("API objects can be written as JSON");
        self.objects.apply(Item::read(json.into()).expect("an API object is a JSON object"));
    }

    /// Whether a change of this resource version has been seen.
    pub fn has_reached(&self, version: u64) -> bool {
        self.objects.has_reached(version)
    }
}

/// Objects of a cache by values that a function computes. Cheap to clone.
pub struct Index<K> {
    objects: Objects,
    at: usize,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), at: self.at, kind: PhantomData }
    }
}

impl<K: Kind> Index<K> {
    /// The objects with this value, in key order.
    pub fn get(&self, value: &str) -> Vec<Cached<K>> {
        self.objects.indexed(self.at, value).into_iter().map(Cached::new).collect()
    }

    /// The keys of the objects with this value, in order.
    pub fn keys(&self, value: &str) -> Vec<Key> {
        self.objects.indexed_keys(self.at, value)
    }

    /// How many objects have this value.
    pub fn count(&self, value: &str) -> usize {
        self.objects.count(self.at, value)
    }
}
