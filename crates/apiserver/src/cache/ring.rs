//! The recent events of one resource, from which watchers pull.
//!
//! What an event costs is the object that it replaced: the object after it is the cache's own, or is what a later event
//! replaced. For [`SETTLED`] the ring lets watchers lag as far as [`MAX_BYTES`] allow; after that it keeps no more than
//! a share of what the cache holds anyway, since older history is the store's (`past`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use store::Revision;
use tokio::time::Instant;

use super::{CacheError, CacheEvent, EventKind};

/// However large or old, so many events are kept …
const MIN_EVENTS: usize = 64;
/// … and others while they are fresh, so that clients which reconnect need not list again …
const FRESH: Duration = Duration::from_secs(180);
/// … and within these limits.
const MAX_EVENTS: usize = 16_384;
const MAX_BYTES: usize = 8 << 20;
/// How long an event is kept for watchers that lag, though the ring exceeds its share.
pub(super) const SETTLED: Duration = Duration::from_secs(2);
/// The ring's share of the size of the cache's objects: one part in so many …
const SHARE: usize = 16;
/// … and at least so much.
const MIN_BYTES: usize = 256 << 10;

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

    /// Takes in an event. `live_bytes` is the size of the cache's objects.
    pub fn push(&mut self, now: Instant, event: Arc<CacheEvent>, live_bytes: usize) {
        self.bytes += weight(&event);
        self.events.push_back((now, event));
        self.trim(now, live_bytes);
    }

    /// Forgets the oldest events, as far as they exceed the limits. Returns whether the ring is still larger than its
    /// share, because its events are fresh.
    pub fn trim(&mut self, now: Instant, live_bytes: usize) -> bool {
        let share = (live_bytes / SHARE).max(MIN_BYTES);
        while self.has_excess(now, share) {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= weight(&oldest);
            self.floor = oldest.revision;
        }
        if self.events.capacity() > 2 * MIN_EVENTS && self.events.len() * 4 < self.events.capacity() {
            self.events.shrink_to(self.events.len() * 2);
        }
        self.events.len() > MIN_EVENTS && self.bytes > share
    }

    fn has_excess(&self, now: Instant, share: usize) -> bool {
        let Some((at, _)) = self.events.front() else { return false };
        let age = now.duration_since(*at);
        let too_many = self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES;
        let beyond_share = self.bytes > share && age > SETTLED;
        self.events.len() > MIN_EVENTS && (too_many || beyond_share || age > FRESH)
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

/// What the event alone keeps in memory.
fn weight(event: &CacheEvent) -> usize {
    /// The event itself, and what stands beside an object's bytes.
    const BESIDE: usize = 512;
    let replaced = event.previous.as_ref().map_or(0, |previous| BESIDE + previous.json.held_bytes());
    let last = if event.kind == EventKind::Deleted { BESIDE + event.entry.json.held_bytes() } else { 0 };
    size_of::<CacheEvent>() + replaced + last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Entry;
    use crate::cache::resource_spec::things;

    fn entry(revision: Revision, bytes: usize) -> Arc<Entry> {
        let value = format!(r#"{{"data":"{}"}}"#, "x".repeat(bytes));
        Entry::new(&things(), "/registry/things/a/x".into(), value.as_bytes(), revision).unwrap()
    }

    /// Pushes so many changes of an object of 1 KB at once.
    fn change(ring: &mut Ring, now: Instant, revisions: std::ops::Range<Revision>, live_bytes: usize) {
        for revision in revisions {
            let (entry, previous) = (entry(revision, 1 << 10), entry(revision - 1, 1 << 10));
            let event = CacheEvent::new(EventKind::Modified, entry, Some(previous));
            ring.push(now, Arc::new(event), live_bytes);
        }
    }

    #[test]
    fn watchers_may_lag_for_a_while_and_then_the_ring_keeps_its_share() {
        let (mut ring, now) = (Ring::new(1), Instant::now());
        change(&mut ring, now, 2..1_002, 8 << 20);
        assert_eq!(ring.after(1, 2_000).unwrap().len(), 1_000, "a burst stays whole");
        assert!(ring.trim(now + SETTLED, 8 << 20), "it is not done yet");
        assert_eq!(ring.events.len(), 1_000);
        let later = now + SETTLED + Duration::from_millis(1);
        assert!(!ring.trim(later, 8 << 20));
        assert!(
            ring.bytes <= 512 << 10 && ring.bytes > (512 << 10) - (2 << 10),
            "a sixteenth: {}",
            ring.bytes
        );
        let kept = ring.events.len();
        assert_eq!(ring.floor(), 1_001 - kept as Revision);
        assert!(matches!(ring.after(ring.floor() - 1, 1), Err(CacheError::Expired { .. })));
        assert_eq!(ring.after(ring.floor(), 2_000).unwrap().len(), kept);
        // Of a large cache more is kept, of an empty one a little.
        change(&mut ring, later, 1_002..2_002, 1 << 30);
        ring.trim(later + FRESH, 1 << 30);
        assert!(ring.events.len() >= 1_000);
        ring.trim(later + FRESH, 0);
        assert!(ring.bytes <= MIN_BYTES && ring.bytes > MIN_BYTES - (2 << 10), "{}", ring.bytes);
        ring.trim(later + FRESH + Duration::from_millis(1), 1 << 30);
        assert_eq!(ring.events.len(), MIN_EVENTS);
    }

    #[test]
    fn a_ring_has_limits_at_any_time() {
        let (mut ring, now) = (Ring::new(1), Instant::now());
        change(&mut ring, now, 2..8_002, 1 << 30);
        assert!(ring.bytes <= MAX_BYTES && ring.bytes > MAX_BYTES - (2 << 10), "{}", ring.bytes);
        let mut ring = Ring::new(1);
        for revision in 2..20_000 {
            ring.push(now, Arc::new(CacheEvent::new(EventKind::Added, entry(revision, 64), None)), 0);
        }
        assert_eq!(ring.events.len(), MAX_EVENTS, "what was added is held by the cache");
    }
}
