//! A change of an object as watchers of the resource see it.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use store::Revision;

use super::Entry;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

impl EventKind {
    /// As in a watch's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change, shared by all who watch it, encoded once for all of them.
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
    lines: [OnceLock<Bytes>; 3],
}

impl CacheEvent {
    pub(super) fn new(kind: EventKind, entry: Arc<Entry>, previous: Option<Arc<Entry>>) -> Self {
        Self {
            kind,
            revision: entry.revision,
            entry,
            previous,
            left: OnceLock::new(),
            lines: Default::default(),
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

    /// The event as a line of a JSON watch.
    fn line(&self, kind: EventKind) -> &Bytes {
        self.lines[kind as usize].get_or_init(|| {
            let object = &self.object(kind).json;
            let mut line = BytesMut::with_capacity(object.len() + 40);
            line.put_slice(b"{\"type\":\"");
            line.put_slice(kind.as_str().as_bytes());
            line.put_slice(b"\",\"object\":");
            line.put_slice(object);
            line.put_slice(b"}\n");
            line.freeze()
        })
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

    /// `{"type":"ADDED","object":…}` and a newline, encoded once for all watchers.
    pub fn json_line(&self) -> Bytes {
        self.event.line(self.kind).clone()
    }
}
