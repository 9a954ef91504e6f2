//! One client's watch of a resource.

use std::sync::Arc;

use store::Revision;
use tokio::sync::watch;

use super::lanes::Trigger;
use super::past::Past;
use super::resource::{ResourceCache, Snapshot};
use super::signal::Signal;
use super::{CacheError, CacheEvent, Scope, WatchEvent};

/// Events looked at in one step.
const BATCH: usize = 256;

/// Pulls events from the resource's ring. Dropping it ends the watch; nobody else notices.
pub struct CacheWatch {
    resource: Arc<ResourceCache>,
    scope: Scope,
    /// The one value that the scope wants exactly, whose changes wake this watch.
    trigger: Option<Trigger>,
    signal: watch::Receiver<Signal>,
    position: Revision,
    /// There until the ring takes over.
    past: Option<Past>,
}

impl ResourceCache {
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

    /// The objects now and a watch of what follows, with nothing lost in between.
    pub fn snapshot_and_watch(self: &Arc<Self>, scope: Scope) -> (Snapshot, CacheWatch) {
        // Made first: what comes in between is known to both.
        let mut watch = CacheWatch::new(self, 0, scope);
        let snapshot = self.matching(watch.scope());
        watch.begin_after(snapshot.revision);
        (snapshot, watch)
    }
}

impl Drop for CacheWatch {
    fn drop(&mut self) {
        if let Some(trigger) = &self.trigger {
            self.resource.leave(trigger);
        }
    }
}

impl CacheWatch {
    /// A watch of what comes after `position`.
    pub(super) fn new(resource: &Arc<ResourceCache>, position: Revision, scope: Scope) -> Self {
        let trigger = Trigger::of(&resource.spec, &scope);
        let signal = resource.join(trigger.as_ref());
        Self { resource: resource.clone(), scope, trigger, signal, position, past: None }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn begin_after(&mut self, position: Revision) {
        self.position = position;
    }

    /// Shows this first.
    pub(super) fn begin_with(&mut self, past: Past) {
        self.past = Some(past);
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
        let news = self.resource.events_after(self.trigger.as_ref(), self.position, 1).ok()?;
        if !news.is_empty() {
            return None;
        }
        self.position = self.position.max(applied);
        Some(self.position)
    }

    /// Whether there is news for [`CacheWatch::next`] to look at.
    #[cfg(test)]
    pub(super) fn is_woken(&self) -> bool {
        self.signal.has_changed().unwrap_or(true)
    }

    /// What of the events is this watch's business.
    fn seen(&self, events: Vec<Arc<CacheEvent>>) -> Vec<WatchEvent> {
        let seen = |event: Arc<CacheEvent>| Some(WatchEvent { kind: event.seen_in(&self.scope)?, event });
        events.into_iter().filter_map(seen).collect()
    }

    /// What is there already, without waiting.
    fn take(&mut self) -> Result<Vec<WatchEvent>, CacheError> {
        loop {
            // An idle watch of a busy server must not fall behind the ring only because nothing concerned it.
            let applied = self.resource.applied();
            let events = self.resource.events_after(self.trigger.as_ref(), self.position, BATCH)?;
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
