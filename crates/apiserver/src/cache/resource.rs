//! One resource's objects in key order, and its recent events.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use store::{Change, KeyValue, Revision, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use super::collection::Collection;
use super::lanes::{Lanes, Trigger, Woken};
use super::objects::Objects;
use super::resource_spec::ResourceSpec;
use super::ring::Ring;
use super::signal::Signal;
use super::{CacheError, CacheEvent, Entry, EventKind, Scope, Shared};

/// Objects in key order, as they were together at `revision`.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub revision: Revision,
    pub entries: Vec<Arc<Entry>>,
}

/// The cache of one resource.
pub struct ResourceCache {
    pub spec: Arc<ResourceSpec>,
    pub(super) store: Arc<dyn Store>,
    pub(super) shared: Arc<Shared>,
    state: RwLock<State>,
    /// Counts up when there are events; closed when the resource has ended. What watches of everything wait for.
    signal: Arc<watch::Sender<Signal>>,
}

struct State {
    objects: Collection,
    ring: Ring,
    lanes: Lanes,
    /// The last change of this resource, or the revision it was loaded at.
    changed: Revision,
}

impl ResourceCache {
    /// An object now. The namespace is empty for objects that live in none.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.read().objects.get(&self.spec.key(namespace, name)).cloned()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// How many objects there are, and what they take in bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.read();
        (state.objects.len(), state.objects.bytes())
    }

    /// How many watches are told of a change of an object; one without a name is counted by its namespace.
    pub(crate) fn watches(&self, namespace: &str, name: &str) -> usize {
        let key = self.spec.key(namespace, name);
        self.signal.receiver_count() + self.read().lanes.watches(namespace, &key)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects, or those of a namespace.
    pub fn snapshot(&self, namespace: Option<&str>) -> Snapshot {
        self.matching(&namespace.map_or_else(Scope::default, Scope::namespace))
    }

    /// The last change of any of the objects, or the revision they were loaded at.
    pub(crate) fn changed(&self) -> Revision {
        self.read().changed
    }

    /// The objects in the scope.
    pub fn matching(&self, scope: &Scope) -> Snapshot {
        let prefix = self.spec.key(scope.namespace.as_deref().unwrap_or_default(), "");
        let (revision, objects) = self.objects(scope);
        let entries = objects.range(&prefix, "").filter(|entry| scope.selects(entry)).cloned().collect();
        Snapshot { revision, entries }
    }

    /// Whether the ring has all events after the revision.
    pub(super) fn remembers(&self, revision: Revision) -> bool {
        self.read().ring.check(revision).is_ok()
    }

    /// Where a watch hears of news. It leaves what it has joined when it ends.
    pub(super) fn join(&self, trigger: Option<&Trigger>) -> watch::Receiver<Signal> {
        let Some(trigger) = trigger else { return self.signal.subscribe() };
        let mut state = self.write();
        let changed = state.changed;
        let closed = self.signal.borrow().closed;
        state.lanes.join(trigger, Signal { revision: changed, closed })
    }

    pub(super) fn leave(&self, trigger: &Trigger) {
        self.write().lanes.leave(trigger);
    }

    /// The revision up to which this cache has applied everything.
    pub fn applied(&self) -> Revision {
        self.shared.applied.borrow().revision
    }

    /// One that is to be loaded as of a revision, by [`Self::add_loaded`].
    pub(super) fn empty(
        spec: Arc<ResourceSpec>,
        store: Arc<dyn Store>,
        shared: Arc<Shared>,
        revision: Revision,
    ) -> Arc<Self> {
        let objects = Collection::new(&spec);
        let state = State { objects, ring: Ring::new(revision), lanes: Lanes::default(), changed: revision };
        let signal = Arc::new(watch::Sender::new(Signal { revision, closed: false }));
        Arc::new(Self { spec, store, shared, state: RwLock::new(state), signal })
    }

    /// Adds objects of the revision that the resource is loaded at.
    ///
    /// # Errors
    /// When a value is no object: without the object others would act as if it were gone.
    pub(super) fn add_loaded(&self, items: Vec<KeyValue>) -> Result<(), store::Error> {
        let entry = |item: KeyValue| {
            let key = Arc::clone(&item.key);
            let broken = || store::Error::Unreadable { key, reason: "it is no object in JSON".into() };
            self.entry(item).ok_or_else(broken)
        };
        let entries = items.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let mut state = self.write();
        for entry in entries {
            state.objects.insert(entry);
        }
        Ok(())
    }

    pub(super) fn entry(&self, item: KeyValue) -> Option<Arc<Entry>> {
        Entry::new(&self.spec, item.key, &item.value, item.mod_revision)
    }

    /// Takes in changes of this resource, in order. Watchers learn of them when those who are to be woken are.
    pub(super) fn apply(&self, changes: &[Arc<Change>], now: Instant) -> Woken {
        // Looking into the objects is done before the lock.
        let entries: Vec<_> = changes
            .iter()
            .map(|change| {
                let value = change.value.as_ref()?;
                Entry::new(&self.spec, change.key.clone(), value, change.revision)
            })
            .collect();
        let mut woken = Woken::default();
        let mut state = self.write();
        let state = &mut *state;
        for (change, entry) in changes.iter().zip(entries) {
            let event = match entry {
                Some(entry) => {
                    let previous = state.objects.insert(entry.clone());
                    let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
                    CacheEvent::new(kind, entry, previous)
                }
                // What cannot be read is not gone: what was there before stays until a later change.
                None if change.value.is_some() => continue,
                None => match state.objects.remove(&change.key) {
                    Some(previous) => {
                        let last = previous.at_revision(change.revision);
                        CacheEvent::new(EventKind::Deleted, last, Some(previous))
                    }
                    None => continue,
                },
            };
            state.lanes.note(&event, state.ring.floor(), &mut woken);
            state.ring.push(now, Arc::new(event), state.objects.bytes());
            state.changed = change.revision;
            woken.add(&self.signal, change.revision);
        }
        woken
    }

    /// Forgets events that are not needed any more. Returns whether others are too many for ever, but not for now.
    pub(super) fn trim(&self, now: Instant) -> bool {
        let mut state = self.write();
        let live_bytes = state.objects.bytes();
        state.ring.trim(now, live_bytes)
    }

    pub(super) fn close(&self) {
        // First: a lane that somebody joins from now on is closed from its beginning.
        self.signal.send_modify(|signal| signal.closed = true);
        self.read().lanes.close();
    }

    /// About `limit` events after `position`, at least those that concern the trigger.
    pub(super) fn events_after(
        &self,
        trigger: Option<&Trigger>,
        position: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<CacheEvent>>, CacheError> {
        let state = self.read();
        match trigger.and_then(|trigger| state.lanes.after(trigger, position, limit)) {
            Some(revisions) => state.ring.at(&revisions, position),
            None => state.ring.after(position, limit),
        }
    }

    /// The objects that a scope is to be looked for in, and of when they are.
    fn objects(&self, scope: &Scope) -> (Revision, Objects) {
        // Read first: what is found may be newer, never older.
        let applied = self.applied();
        let state = self.read();
        (applied.max(state.changed), state.objects.narrowed(&self.spec, scope))
    }

    /// The same as of `at`; `None` when they have changed since.
    pub(super) fn objects_at(&self, at: Option<Revision>, scope: &Scope) -> Option<(Revision, Objects)> {
        let Some(at) = at else { return Some(self.objects(scope)) };
        let applied = self.applied();
        let state = self.read();
        // Nothing of this resource has changed since, and it was loaded by then.
        let holds = state.changed <= at && at <= applied;
        holds.then(|| (at, state.objects.narrowed(&self.spec, scope)))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
