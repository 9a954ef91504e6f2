//! One client's watch of a resource.

use std::sync::Arc;

use store::Revision;
use tokio::sync::watch;

use super::past::Past;
use super::resource::{ResourceCache, Signal};
use super::{CacheError, CacheEvent, Entry, EventKind, WatchEvent};

/// Events looked at in one step.
const BATCH: usize = 256;

/// Which objects selectors want.
pub type Filter = Arc<dyn Fn(&Entry) -> bool + Send + Sync>;

/// Which objects a watch is about.
#[derive(Clone, Default)]
pub struct WatchScope {
    /// `None` for all.
    pub namespace: Option<String>,
    pub filter: Option<Filter>,
}

impl WatchScope {
    pub fn matches(&self, entry: &Entry) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| entry.namespace() == namespace)
            && self.filter.as_ref().is_none_or(|filter| filter(entry))
    }

    /// How the event looks to this watch; `None` when it is none of its business.
    fn see(&self, event: &CacheEvent) -> Option<EventKind> {
        let before = event.previous.as_ref().is_some_and(|previous| self.matches(previous));
        let now = event.kind != EventKind::Deleted && self.matches(&event.entry);
        match (before, now) {
            (false, true) => Some(EventKind::Added),
            (true, true) => Some(EventKind::Modified),
            (true, false) => Some(EventKind::Deleted),
            (false, false) => None,
        }
    }
}

/// Pulls events from the resource's ring. Dropping it ends the watch; nobody else notices.
pub struct CacheWatch {
    resource: Arc<ResourceCache>,
    signal: watch::Receiver<Signal>,
    scope: WatchScope,
    position: Revision,
    /// There until the ring takes over.
    past: Option<Past>,
}

impl CacheWatch {
    pub(super) fn new(
        resource: Arc<ResourceCache>,
        signal: watch::Receiver<Signal>,
        position: Revision,
        scope: WatchScope,
        past: Option<Past>,
    ) -> Self {
        Self { resource, signal, scope, position, past }
    }

    /// Waits for events; never an empty batch. Cancellation safe.
    ///
    /// # Errors
    /// [`CacheError::Expired`] when the reader was so slow that events are gone, [`CacheError::Closed`] when
    /// the resource is served no more. The watch has ended then.
    pub async fn next(&mut self) -> Result<Vec<WatchEvent>, CacheError> {
        while let Some(past) = &mut self.past {
            let (upto, events) = past.next(&self.resource).await?;
            self.position = self.position.max(upto);
            if self.resource.remembers(self.position) {
                self.past = None;
            }
            let seen = self.seen(events);
            if !seen.is_empty() {
                return Ok(seen);
            }
        }
        loop {
            let signal = *self.signal.borrow_and_update();
            let events = self.take()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if signal.closed {
                return Err(CacheError::Closed);
            }
            self.signal.changed().await.map_err(|_| CacheError::Closed)?;
        }
    }

    /// The revision up to which this watch has shown everything: what a bookmark says. `None` while there
    /// are events that [`CacheWatch::next`] has not given out yet.
    pub fn progress(&mut self) -> Option<Revision> {
        if self.past.is_some() {
            return None;
        }
        // Read first: whatever was applied by then is in the ring.
        let applied = self.resource.applied();
        let news = self.resource.events_after(self.position, 1).ok()?;
        if !news.is_empty() {
            return None;
        }
        self.position = self.position.max(applied);
        Some(self.position)
    }

    /// What of the events is this watch's business.
    fn seen(&self, events: Vec<Arc<CacheEvent>>) -> Vec<WatchEvent> {
        let seen = |event: Arc<CacheEvent>| Some(WatchEvent { kind: self.scope.see(&event)?, event });
        events.into_iter().filter_map(seen).collect()
    }

    /// What is there already, without waiting.
    fn take(&mut self) -> Result<Vec<WatchEvent>, CacheError> {
        loop {
            // An idle watch of a busy server must not fall behind the ring only because nothing concerned it.
            let applied = self.resource.applied();
            let events = self.resource.events_after(self.position, BATCH)?;
            let Some(last) = events.last() else {
                self.position = self.position.max(applied);
                return Ok(Vec::new());
            };
            self.position = last.revision.max(self.position);
            let seen = self.seen(events);
            if !seen.is_empty() {
                return Ok(seen);
            }
        }
    }
}
