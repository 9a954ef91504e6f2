//! The recent events of one resource, from which watchers pull.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use store::Revision;
use tokio::time::Instant;

use super::{CacheError, CacheEvent};

/// However large or old, so many events are kept …
const MIN_EVENTS: usize = 64;
/// … and others while they are fresh, so that clients which reconnect need not list again …
const FRESH: Duration = Duration::from_secs(180);
/// … and within these limits.
const MAX_EVENTS: usize = 16_384;
const MAX_BYTES: usize = 8 << 20;

pub(super) struct Ring {
    events: VecDeque<(Instant, Arc<CacheEvent>)>,
    bytes: usize,
    /// All events after this revision are here.
    floor: Revision,
}

impl Ring {
    pub fn new(floor: Revision) -> Self {
        Self { events: VecDeque::new(), bytes: 0, floor }
    }

    pub fn push(&mut self, now: Instant, event: Arc<CacheEvent>) {
        self.bytes += weight(&event);
        self.events.push_back((now, event));
        while self.has_excess(now) {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= weight(&oldest);
            self.floor = oldest.revision;
        }
        if self.events.capacity() > 2 * MIN_EVENTS && self.events.len() * 4 < self.events.capacity() {
            self.events.shrink_to(self.events.len() * 2);
        }
    }

    fn has_excess(&self, now: Instant) -> bool {
        let Some((at, _)) = self.events.front() else { return false };
        let too_many = self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES;
        self.events.len() > MIN_EVENTS && (too_many || now.duration_since(*at) > FRESH)
    }

    /// All events after this revision are here.
    pub fn floor(&self) -> Revision {
        self.floor
    }

    /// The events of these revisions, which are in order.
    ///
    /// # Errors
    /// [`CacheError::Expired`] when some are kept no more, for a reader that has seen all up to `position`.
    pub fn at(&self, revisions: &[Revision], position: Revision) -> Result<Vec<Arc<CacheEvent>>, CacheError> {
        if revisions.first().is_some_and(|first| *first <= self.floor) {
            return Err(CacheError::Expired { asked: position, oldest: self.floor });
        }
        let mut found = Vec::with_capacity(revisions.len());
        for revision in revisions {
            let start = self.events.partition_point(|(_, event)| event.revision < *revision);
            let events = self.events.range(start..).map(|(_, event)| event);
            found.extend(events.take_while(|event| event.revision == *revision).cloned());
        }
        Ok(found)
    }

    /// Whether a watch can begin after `revision`.
    pub fn check(&self, revision: Revision) -> Result<(), CacheError> {
        if revision < self.floor {
            return Err(CacheError::Expired { asked: revision, oldest: self.floor });
        }
        Ok(())
    }

    /// About `limit` events after `position`; those of one revision, as of keys that expire together, are not torn
    /// apart.
    pub fn after(&self, position: Revision, limit: usize) -> Result<Vec<Arc<CacheEvent>>, CacheError> {
        self.check(position)?;
        let upto = |revision| self.events.partition_point(|(_, event)| event.revision <= revision);
        let start = upto(position);
        let end = match self.events.get((start + limit).saturating_sub(1)) {
            Some((_, last)) => upto(last.revision),
            None => self.events.len(),
        };
        Ok(self.events.range(start..end).map(|(_, event)| event.clone()).collect())
    }
}

/// What the event holds on to: the object before it is that of an earlier event, or of the cache.
fn weight(event: &CacheEvent) -> usize {
    512 + event.entry.json.held_bytes()
}
