//! One resource's objects in key order, and its recent events.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use store::{Change, KeyValue, Revision, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use super::past::Past;
use super::ring::Ring;
use super::watch::{CacheWatch, WatchScope};
use super::{CacheError, CacheEvent, Entry, EventKind, Extract, ROOT, Shared};

/// What the cache must know of a resource.
#[derive(Clone)]
pub struct ResourceSpec {
    /// Where it is stored below `/registry/`, as `things` or `example.com/things`; no slash at the ends.
    pub prefix: String,
    pub namespaced: bool,
    /// Selectable fields by the names selectors use, besides `metadata.name` and `metadata.namespace`.
    pub field_names: Vec<Cow<'static, str>>,
    /// Gives the values of those fields in their order, and the labels.
    pub extract: Extract,
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
    /// Counts up when there are events; closed when the resource has ended.
    signal: watch::Sender<Signal>,
}

/// How far something has come, and whether it has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signal {
    pub revision: Revision,
    pub closed: bool,
}

struct State {
    entries: BTreeMap<Arc<str>, Arc<Entry>>,
    ring: Ring,
    /// The last change of this resource, or the revision it was loaded at.
    changed: Revision,
}

impl ResourceCache {
    /// An object now. The namespace is empty for objects that live in none.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.read().entries.get(self.spec.key(namespace, name).as_str()).cloned()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects, or those of a namespace.
    pub fn snapshot(&self, namespace: Option<&str>) -> Snapshot {
        let prefix = self.spec.key(namespace.unwrap_or_default(), "");
        // Read first: what is found may be newer, never older.
        let revision = self.applied();
        let state = self.read();
        let entries = state.range(&prefix, "").cloned().collect();
        Snapshot { revision: revision.max(state.changed), entries }
    }

    /// Events after `from`, from the store's history where the ring does not reach back so far. Wants an
    /// exact revision: one that a list or an event has shown.
    ///
    /// # Errors
    /// [`CacheError::Expired`] when events after `from` are not kept any more.
    pub async fn watch(
        self: &Arc<Self>,
        from: Revision,
        scope: WatchScope,
    ) -> Result<CacheWatch, CacheError> {
        let signal = self.signal.subscribe();
        let past = if self.remembers(from) { None } else { Some(Past::after(self, from).await?) };
        Ok(CacheWatch::new(self.clone(), signal, from, scope, past))
    }

    /// Whether the ring has all events after the revision.
    pub(super) fn remembers(&self, revision: Revision) -> bool {
        self.read().ring.check(revision).is_ok()
    }

    /// The objects now and a watch of what follows, with nothing lost in between.
    pub fn snapshot_and_watch(self: &Arc<Self>, scope: WatchScope) -> (Snapshot, CacheWatch) {
        let signal = self.signal.subscribe();
        let snapshot = self.snapshot(scope.namespace.as_deref());
        let mut snapshot = snapshot;
        snapshot.entries.retain(|entry| scope.matches(entry));
        let watch = CacheWatch::new(self.clone(), signal, snapshot.revision, scope, None);
        (snapshot, watch)
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
        let state = State { entries: BTreeMap::new(), ring: Ring::new(revision), changed: revision };
        let signal = watch::Sender::new(Signal { revision, closed: false });
        let resource = Self { spec, store, shared, state: RwLock::new(state), signal };
        resource.add_loaded(items);
        Arc::new(resource)
    }

    /// Adds objects of the revision that the resource is loaded at.
    pub(super) fn add_loaded(&self, items: Vec<KeyValue>) {
        let entries: Vec<_> = items.into_iter().filter_map(|item| self.entry(item)).collect();
        self.write().entries.extend(entries.into_iter().map(|entry| (entry.key.clone(), entry)));
    }

    pub(super) fn entry(&self, item: KeyValue) -> Option<Arc<Entry>> {
        Entry::new(&self.spec, item.key, &item.value, item.mod_revision)
    }

    /// Takes in changes of this resource, in order. Watchers learn of them with [`ResourceCache::notify`].
    pub(super) fn apply(&self, changes: &[Arc<Change>], now: Instant) {
        // Looking into the objects is done before the lock.
        let entries: Vec<_> = changes
            .iter()
            .map(|change| {
                let value = change.value.as_ref()?;
                Entry::new(&self.spec, change.key.clone(), value, change.revision)
            })
            .collect();
        let mut state = self.write();
        for (change, entry) in changes.iter().zip(entries) {
            let event = match entry {
                Some(entry) => {
                    let previous = state.entries.insert(change.key.clone(), entry.clone());
                    let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
                    CacheEvent::new(kind, entry, previous)
                }
                None => match state.entries.remove(&change.key) {
                    Some(previous) => {
                        let last = previous.at_revision(change.revision);
                        CacheEvent::new(EventKind::Deleted, last, Some(previous))
                    }
                    None => continue,
                },
            };
            state.ring.push(now, Arc::new(event));
            state.changed = change.revision;
        }
    }

    pub(super) fn notify(&self) {
        let revision = self.read().changed;
        self.signal.send_if_modified(|signal| {
            let news = signal.revision != revision;
            signal.revision = revision;
            news
        });
    }

    pub(super) fn close(&self) {
        self.signal.send_modify(|signal| signal.closed = true);
    }

    pub(super) fn events_after(
        &self,
        position: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<CacheEvent>>, CacheError> {
        self.read().ring.after(position, limit)
    }

    /// Runs `work` on the objects with `prefix` after `after`, if they are still as they were at `at`.
    pub(super) fn with_entries<T>(
        &self,
        at: Option<Revision>,
        prefix: &str,
        after: &str,
        work: impl FnOnce(&mut dyn Iterator<Item = &Arc<Entry>>) -> T,
    ) -> Option<(Revision, T)> {
        let applied = self.applied();
        let state = self.read();
        let revision = match at {
            // Nothing of this resource has changed since, and it was loaded by then.
            Some(at) if at < state.changed || at > applied => return None,
            Some(at) => at,
            None => applied.max(state.changed),
        };
        Some((revision, work(&mut state.range(prefix, after))))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn range<'s>(&'s self, prefix: &'s str, after: &str) -> impl Iterator<Item = &'s Arc<Entry>> + use<'s> {
        let from = if after > prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
        self.entries
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }
}
