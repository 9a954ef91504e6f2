//! A change of an object as watchers of the resource see it.

use std::sync::{Arc, OnceLock};

use store::Revision;

use super::{Entry, Scope};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One change, shared by all who watch it. Its objects are the ones that the cache holds or held.
#[derive(Debug)]
pub struct CacheEvent {
    /// What happened to the object itself. A watch with a filter may see it as another: see [`WatchEvent`].
    pub kind: EventKind,
    pub revision: Revision,
    /// The object now; for a deletion its last state, with the deletion's revision.
    pub entry: Arc<Entry>,
    /// The object before, where there was one.
    pub previous: Option<Arc<Entry>>,
    /// The last state with this change's revision, for those to whom the object seems deleted.
    left: OnceLock<Arc<Entry>>,
}

impl CacheEvent {
    pub(super) fn new(kind: EventKind, entry: Arc<Entry>, previous: Option<Arc<Entry>>) -> Self {
        Self { kind, revision: entry.revision, entry, previous, left: OnceLock::new() }
    }

    /// How the event looks to a watch of the scope; `None` when it is none of its business.
    pub fn seen_in(&self, scope: &Scope) -> Option<EventKind> {
        let before = self.previous.as_ref().is_some_and(|previous| scope.matches(previous));
        let now = self.kind != EventKind::Deleted && scope.matches(&self.entry);
        match (before, now) {
            (false, true) => Some(EventKind::Added),
            (true, true) => Some(EventKind::Modified),
            (true, false) => Some(EventKind::Deleted),
            (false, false) => None,
        }
    }

    /// The object that goes with the event for those who see it as `kind`.
    pub fn object(&self, kind: EventKind) -> &Arc<Entry> {
        match (kind, self.kind, &self.previous) {
            (EventKind::Deleted, EventKind::Added | EventKind::Modified, Some(previous)) => {
                self.left.get_or_init(|| previous.at_revision(self.revision))
            }
            _ => &self.entry,
        }
    }
}

/// A change as one watch sees it: an object that begins to match its filter is added, one that ceases to is
/// deleted.
#[derive(Debug, Clone)]
pub struct WatchEvent {
    pub kind: EventKind,
    pub event: Arc<CacheEvent>,
}

impl WatchEvent {
    pub fn revision(&self) -> Revision {
        self.event.revision
    }

    /// The object to show.
    pub fn object(&self) -> &Arc<Entry> {
        self.event.object(self.kind)
    }
}
