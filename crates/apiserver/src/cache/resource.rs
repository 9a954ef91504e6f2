//! One resource's objects in key order, and its recent events.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use store::{Change, KeyValue, Revision, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use super::collection::Collection;
use super::lanes::{Lanes, Trigger, Woken};
use super::objects::Objects;
use super::past::Past;
use super::ring::Ring;
use super::watch::CacheWatch;
use super::{CacheError, CacheEvent, Entry, EventKind, Extract, ROOT, Scope, Shared, Templates};

/// What the cache must know of a resource.
#[derive(Clone)]
pub struct ResourceSpec {
    /// Where it is stored below `/registry/`, as `things` or `example.com/things`; no slash at the ends.
    pub prefix: String,
    pub namespaced: bool,
    /// Selectable fields by the names selectors use, besides `metadata.name` and `metadata.namespace`.
    pub field_names: Vec<Cow<'static, str>>,
    /// Which of these fields clients watch by one value each, by their places.
    pub triggers: Vec<usize>,
    /// Gives the values of those fields in their order, and the labels.
    pub extract: Extract,
    /// What the managed fields of its objects have in common.
    pub templates: Templates,
}

impl ResourceSpec {
    /// The key of an object; without a name, what the keys of the namespace begin with; without both, those
    /// of the resource.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        match (self.namespaced, namespace) {
            (false, _) | (true, "") => format!("{ROOT}{}/{name}", self.prefix),
            (true, namespace) => format!("{ROOT}{}/{namespace}/{name}", self.prefix),
        }
    }

    /// Whether a key is of this resource, and not of one whose prefix begins alike.
    pub(super) fn owns(&self, key: &str) -> bool {
        let rest = key.strip_prefix(ROOT).and_then(|k| k.strip_prefix(self.prefix.as_str()));
        let rest = rest.and_then(|r| r.strip_prefix('/'));
        rest.is_some_and(|r| r.matches('/').count() == usize::from(self.namespaced))
    }

    /// Namespace and name of a key of this resource.
    pub(super) fn split<'k>(&self, key: &'k str) -> (&'k str, &'k str) {
        let rest = key.get(ROOT.len() + self.prefix.len() + 1..).unwrap_or_default();
        if self.namespaced { rest.split_once('/').unwrap_or(("", rest)) } else { ("", rest) }
    }
}

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

/// How far something has come, and whether it has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signal {
    pub revision: Revision,
    pub closed: bool,
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

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects, or those of a namespace.
    pub fn snapshot(&self, namespace: Option<&str>) -> Snapshot {
        self.matching(&namespace.map_or_else(Scope::default, Scope::namespace))
    }

    /// The objects in the scope.
    pub fn matching(&self, scope: &Scope) -> Snapshot {
        let prefix = self.spec.key(scope.namespace.as_deref().unwrap_or_default(), "");
        let (revision, objects) = self.objects(scope);
        let entries = objects.range(&prefix, "").filter(|entry| scope.selects(entry)).cloned().collect();
        Snapshot { revision, entries }
    }

    /// Events after `from`, from the store's history where the ring does not reach back so far. Wants an
    /// exact revision: one that a list or an event has shown.
    ///
    /// # Errors
    /// [`CacheError::Expired`] when events after `from` are not kept any more.
    pub async fn watch(self: &Arc<Self>, from: Revision, scope: Scope) -> Result<CacheWatch, CacheError> {
        let mut watch = CacheWatch::new(self, from, scope);
        if !self.remembers(from) {
            watch.begin_with(Past::after(self, from).await?);
        }
        Ok(watch)
    }

    /// Whether the ring has all events after the revision.
    pub(super) fn remembers(&self, revision: Revision) -> bool {
        self.read().ring.check(revision).is_ok()
    }

    /// The objects now and a watch of what follows, with nothing lost in between.
    pub fn snapshot_and_watch(self: &Arc<Self>, scope: Scope) -> (Snapshot, CacheWatch) {
        // Made first: what comes in between is known to both.
        let mut watch = CacheWatch::new(self, 0, scope);
        let snapshot = self.matching(watch.scope());
        watch.begin_after(snapshot.revision);
        (snapshot, watch)
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

    pub(super) fn load(
        spec: Arc<ResourceSpec>,
        store: Arc<dyn Store>,
        shared: Arc<Shared>,
        items: Vec<KeyValue>,
        revision: Revision,
    ) -> Arc<Self> {
        let objects = Collection::new(&spec);
        let state = State { objects, ring: Ring::new(revision), lanes: Lanes::default(), changed: revision };
        let signal = Arc::new(watch::Sender::new(Signal { revision, closed: false }));
        let resource = Self { spec, store, shared, state: RwLock::new(state), signal };
        resource.add_loaded(items);
        Arc::new(resource)
    }

    /// Adds objects of the revision that the resource is loaded at.
    pub(super) fn add_loaded(&self, items: Vec<KeyValue>) {
        let entries: Vec<_> = items.into_iter().filter_map(|item| self.entry(item)).collect();
        let mut state = self.write();
        for entry in entries {
            state.objects.insert(entry);
        }
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
