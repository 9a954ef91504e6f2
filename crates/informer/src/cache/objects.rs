//! [`Objects`]: the untyped objects of one resource. Reflectors fill them; [`Cache`](super::Cache) adds the type.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use super::Item;
use super::index::{IndexState, ValuesOf};
use crate::Key;

/// A change of a cached object.
#[derive(Debug, Clone)]
pub struct Change {
    /// The object now; for a removed object, its last state.
    pub item: Arc<Item>,
    pub gone: bool,
    /// The state before the change, if the object still exists.
    pub old: Option<Arc<Item>>,
}

type Handler = Box<dyn Fn(&Change) + Send + Sync>;

#[derive(Default)]
struct Held {
    objects: BTreeMap<Key, Arc<Item>>,
    indexes: Vec<IndexState>,
}

impl Held {
    fn put(&mut self, mut item: Item) -> (Arc<Item>, Option<Arc<Item>>) {
        let key = item.meta().key.clone();
        // A predecessor, else a neighbour: in key order it is most likely of the same owner.
        let near = self.objects.range(..=&key).next_back().map(|(_, near)| near.clone());
        if let Some(near) = near {
            item.share_with(&near);
        }
        let new = Arc::new(item);
        let old = self.objects.insert(new.meta().key.clone(), new.clone());
        for index in &mut self.indexes {
            index.update(old.as_ref(), Some(&new));
        }
        (new, old)
    }

    fn take(&mut self, key: &Key) -> Option<Arc<Item>> {
        let old = self.objects.remove(key)?;
        for index in &mut self.indexes {
            index.update(Some(&old), None);
        }
        Some(old)
    }
}

struct Inner {
    held: RwLock<Held>,
    handlers: RwLock<Vec<Handler>>,
    /// Raised after every change; its value is the number of changes so far, 0 before the first list.
    changes: watch::Sender<u64>,
    /// The newest resource version of all objects that were put in or taken out.
    newest: AtomicU64,
    synced: watch::Sender<bool>,
}

/// The objects of one resource, kept current by a watch. Cheap to clone; reads never wait for the network.
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

impl Default for Objects {
    fn default() -> Self {
        Self(Arc::new(Inner {
            held: RwLock::default(),
            handlers: RwLock::default(),
            changes: watch::channel(0).0,
            newest: AtomicU64::new(0),
            synced: watch::channel(false).0,
        }))
    }
}

impl Objects {
    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Item>> {
        self.held().objects.get(key).cloned()
    }

    /// Whether both are one cache.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn len(&self) -> usize {
        self.held().objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects of a namespace whose names begin with `prefix`, in key order; of all where there is no namespace.
    pub(super) fn range(&self, namespace: Option<&str>, prefix: &str) -> Vec<Arc<Item>> {
        let held = self.held();
        let first = Key::new(namespace.unwrap_or(""), prefix);
        held.objects
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(|(key, _)| {
                namespace.is_none_or(|namespace| &*key.namespace == namespace && key.name.starts_with(prefix))
            })
            .map(|(_, item)| item.clone())
            .collect()
    }

    /// The objects of a namespace, in key order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Item>> {
        self.range(Some(namespace), "")
    }

    pub(super) fn any_in(&self, namespace: &str) -> bool {
        let first = Key::new(namespace, "");
        self.held().objects.range(first..).next().is_some_and(|(key, _)| &*key.namespace == namespace)
    }

    /// The number of the index of that name, made from the present objects if it does not exist yet.
    pub(super) fn index(&self, name: &'static str, values_of: ValuesOf) -> usize {
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = held.indexes.iter().position(|index| index.name == name) {
            return at;
        }
        let mut index = IndexState::new(name, values_of);
        for item in held.objects.values() {
            index.update(None, Some(item));
        }
        held.indexes.push(index);
        held.indexes.len() - 1
    }

    /// The objects an index has under a value, in key order.
    pub(super) fn indexed(&self, index: usize, value: &str) -> Vec<Arc<Item>> {
        let held = self.held();
        let Some(index) = held.indexes.get(index) else { return Vec::new() };
        index.keys(value).filter_map(|key| held.objects.get(key).cloned()).collect()
    }

    pub(super) fn indexed_keys(&self, index: usize, value: &str) -> Vec<Key> {
        let held = self.held();
        held.indexes.get(index).into_iter().flat_map(|index| index.keys(value)).cloned().collect()
    }

    pub(super) fn count(&self, index: usize, value: &str) -> usize {
        self.held().indexes.get(index).map_or(0, |index| index.count(value))
    }

    /// Calls `handler` for every present object, and then for every change. Handlers run in the watch's task:
    /// they only enqueue.
    pub fn subscribe(&self, handler: impl Fn(&Change) + Send + Sync + 'static) {
        // The handler list is held while present objects are replayed, so that no change slips
        // between the replay and the subscription.
        let mut handlers = self.0.handlers.write().unwrap_or_else(PoisonError::into_inner);
        for item in self.range(None, "") {
            handler(&Change { item, gone: false, old: None });
        }
        handlers.push(Box::new(handler));
    }

    /// Whether there has been a complete list.
    pub fn is_synced(&self) -> bool {
        *self.0.synced.borrow()
    }

    /// Waits for the first complete list. Cancellation safe.
    pub async fn wait_synced(&self) {
        let mut synced = self.0.synced.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// Waits until `condition` holds, looking again after every change. Cancellation safe.
    pub(super) async fn wait_until(&self, condition: impl Fn() -> bool) {
        let mut changes = self.0.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if condition() || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Puts an object in. For the reflector and for tests.
    pub fn apply(&self, item: Item) {
        let handlers = self.0.handlers.read().unwrap_or_else(PoisonError::into_inner);
        let (new, old) = self.0.held.write().unwrap_or_else(PoisonError::into_inner).put(item);
        self.reached(new.meta().version);
        let same = |old: &Arc<Item>| old.meta().version == new.meta().version && new.meta().version != 0;
        if old.as_ref().is_some_and(same) {
            return;
        }
        // An object deleted and made again between two lists is two objects.
        let old = match old {
            Some(old) if old.meta().uid != new.meta().uid => {
                notify(&handlers, &Change { item: old, gone: true, old: None });
                None
            }
            other => other,
        };
        notify(&handlers, &Change { item: new, gone: false, old });
        drop(handlers);
        self.changed();
    }

    /// Takes an object out. For the reflector and for tests.
    pub fn remove(&self, key: &Key) {
        let handlers = self.0.handlers.read().unwrap_or_else(PoisonError::into_inner);
        let old = self.0.held.write().unwrap_or_else(PoisonError::into_inner).take(key);
        if let Some(old) = old {
            notify(&handlers, &Change { item: old, gone: true, old: None });
            drop(handlers);
            self.changed();
        }
    }

    /// Takes an object out as the watch reported it, `last` being its state with the version of its deletion.
    pub fn deleted(&self, last: &Item) {
        self.remove(&last.meta().key);
        self.reached(last.meta().version);
        self.changed();
    }

    /// Replaces everything by a complete list and marks the cache as synced. For the reflector and for tests.
    pub fn replace(&self, items: Vec<Item>) {
        let present: BTreeSet<&Key> = items.iter().map(|item| &item.meta().key).collect();
        let gone: Vec<Key> =
            self.held().objects.keys().filter(|key| !present.contains(key)).cloned().collect();
        drop(present);
        for key in &gone {
            self.remove(key);
        }
        for item in items {
            self.apply(item);
        }
        self.0.synced.send_replace(true);
        self.changed();
    }

    /// Whether a change of this resource version has been seen, whether or not the object still exists: changes
    /// come in the order of their versions.
    pub fn has_reached(&self, version: u64) -> bool {
        self.0.newest.load(Ordering::Acquire) >= version
    }

    fn reached(&self, version: u64) {
        self.0.newest.fetch_max(version, Ordering::Release);
    }

    /// How many changes there have been. What was found out before and after is the same while this is.
    pub(super) fn changes(&self) -> u64 {
        *self.0.changes.borrow()
    }

    fn changed(&self) {
        self.0.changes.send_modify(|n| *n += 1);
    }
}

fn notify(handlers: &[Handler], change: &Change) {
    for handler in handlers {
        handler(change);
    }
}
