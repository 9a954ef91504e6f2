//! Events older than the ring's, from the store's history: for watches that continue from before the
//! server's start.

use std::sync::Arc;

use futures::StreamExt;
use store::{Change, Revision, Watch, WatchItem};

use super::resource::ResourceCache;
use super::{CacheError, CacheEvent, Entry, EventKind, ROOT};

/// Reads the history up to where the ring takes over.
pub(super) struct Past {
    /// All of the store's changes, so that it is known how far the history has been read.
    changes: Watch,
}

impl Past {
    /// # Errors
    /// [`CacheError::Expired`] when the history after `from` is not kept any more.
    pub async fn after(resource: &ResourceCache, from: Revision) -> Result<Self, CacheError> {
        Ok(Self { changes: resource.store.watch(ROOT, from).await? })
    }

    /// The resource's next events, possibly none, and up to where that is all. Cancellation safe.
    pub async fn next(
        &mut self,
        resource: &ResourceCache,
    ) -> Result<(Revision, Vec<Arc<CacheEvent>>), CacheError> {
        let changes = match self.changes.next().await.ok_or(CacheError::Closed)?? {
            WatchItem::Changes(changes) => changes,
            WatchItem::Progress(upto) => return Ok((upto, Vec::new())),
        };
        let upto = changes.last().map_or(0, |change| change.revision);
        let own = changes.iter().filter(|change| resource.spec.owns(&change.key));
        Ok((upto, own.filter_map(|change| event(resource, change)).map(Arc::new).collect()))
    }
}

/// The change as it was when it was made; `None` for a value that is no object.
fn event(resource: &ResourceCache, change: &Change) -> Option<CacheEvent> {
    let entry = |value: &[u8], revision| Entry::new(&resource.spec, change.key.clone(), value, revision);
    let previous = change.previous.as_ref().and_then(|kv| entry(&kv.value, kv.mod_revision));
    match &change.value {
        Some(value) => {
            let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
            Some(CacheEvent::new(kind, entry(value, change.revision)?, previous))
        }
        None => {
            let last = previous.as_ref()?.at_revision(change.revision);
            Some(CacheEvent::new(EventKind::Deleted, last, previous))
        }
    }
}
