//! [`Book`]: what the objects of one resource in one namespace use, and what is charged for writes in progress.

use std::collections::HashMap;
use std::sync::Arc;

use api::{GroupResource, Object};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use resources::quota::{self, Amounts, Ledger, Measure, Quota};
use store::Revision;

use crate::cache::lookup::{Lookup, decode};
use crate::cache::{CacheError, CacheWatch, Entry, EventKind, Scope, WatchEvent};

/// How long a charge stays whose write nobody knows the outcome of and which the cache does not show: as long as a
/// request may take.
const DOUBT: SignedDuration = SignedDuration::from_secs(60);

/// Names a charge in its book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChargeId(u64);

/// What a write will use.
pub(super) struct Charge {
    pub uid: String,
    /// The revision of the object that is changed; `None` for a new one.
    pub base: Option<Revision>,
    pub measure: Measure,
}

/// A charge whose write the cache does not show yet.
struct Pending {
    charge: Charge,
    /// Since when nobody knows whether the write took place.
    doubtful: Option<Timestamp>,
}

/// See the module's documentation.
pub(super) struct Book {
    lookup: Lookup,
    namespace: String,
    prefix: String,
    watch: CacheWatch,
    /// What is stored.
    ledger: Ledger,
    pending: HashMap<ChargeId, Pending>,
    next: u64,
}

impl Book {
    /// Counts what is stored; `None` where the resource is not cached.
    pub fn open(lookup: Lookup, namespace: &str, prefix: &str, resource: GroupResource) -> Option<Self> {
        let (entries, watch) = load(&lookup, namespace, prefix)?;
        let mut book = Self {
            lookup,
            namespace: namespace.to_owned(),
            prefix: prefix.to_owned(),
            watch,
            ledger: Ledger::new(resource),
            pending: HashMap::new(),
            next: 0,
        };
        entries.iter().for_each(|entry| book.put(entry));
        Some(book)
    }

    /// Whether charges are held.
    pub fn is_in_use(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes in all that the cache shows by now.
    pub fn catch_up(&mut self, now: Timestamp) {
        while let Some(news) = self.watch.next().now_or_never() {
            match news {
                Ok(events) => events.iter().for_each(|event| self.learn(event)),
                Err(error) if self.reload(&error, now) => {}
                Err(_) => break,
            }
        }
        self.ledger.expire(now);
        self.pending
            .retain(|_, pending| pending.doubtful.is_none_or(|since| now.duration_since(since) < DOUBT));
    }

    /// What is used of a quota: by stored objects, and by charges beyond what these objects used before.
    pub fn used(&mut self, quota: &Quota, now: Timestamp) -> Amounts {
        let mut used = self.ledger.used(quota);
        for Pending { charge: Charge { uid, measure, .. }, .. } in self.pending.values() {
            if quota.counts(self.ledger.resource(), &measure.traits) {
                let stored = self.ledger.measure(uid).map(|stored| stored.at(now)).unwrap_or_default();
                quota::add(&mut used, &quota.mask(&quota::increase(&measure.at(now), &stored)));
            }
        }
        used
    }

    /// Enters a new charge.
    pub fn charge(&mut self, charge: Charge) -> ChargeId {
        let id = ChargeId(self.next);
        self.next += 1;
        self.enter(id, charge);
        id
    }

    /// Enters a charge under an id that was withdrawn.
    pub fn enter(&mut self, id: ChargeId, charge: Charge) {
        self.pending.insert(id, Pending { charge, doubtful: None });
    }

    /// Takes a charge back. One that the cache has shown since is gone already.
    pub fn withdraw(&mut self, id: ChargeId) {
        self.pending.remove(&id);
    }

    /// Notes that nobody knows whether the write took place.
    pub fn doubt(&mut self, id: ChargeId, now: Timestamp) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.doubtful = Some(now);
        }
    }

    fn learn(&mut self, event: &WatchEvent) {
        let entry = &event.event.entry;
        match event.kind {
            EventKind::Deleted => self.ledger.remove(entry.name()),
            EventKind::Added | EventKind::Modified => self.put(entry),
        }
    }

    /// Counts an object, and settles its charge: the object is the charge's own write, or has ruled that out.
    fn put(&mut self, entry: &Entry) {
        let Some(object) = decode::<Object>(entry) else { return };
        self.ledger.put(&object);
        if !self.pending.is_empty() {
            self.pending.retain(|_, Pending { charge, .. }| {
                charge.uid != object.uid() || charge.base.is_some_and(|base| entry.revision <= base)
            });
        }
    }

    /// Counts everything anew where events were lost; false where the resource is served no more.
    fn reload(&mut self, why: &CacheError, now: Timestamp) -> bool {
        let Some((entries, watch)) = load(&self.lookup, &self.namespace, &self.prefix) else { return false };
        tracing::debug!(%why, namespace = self.namespace, prefix = self.prefix, "counting everything anew");
        self.watch = watch;
        self.ledger.clear();
        // The object of a charge may have come and gone among what was lost.
        for pending in self.pending.values_mut() {
            pending.doubtful.get_or_insert(now);
        }
        entries.iter().for_each(|entry| self.put(entry));
        true
    }
}

fn load(lookup: &Lookup, namespace: &str, prefix: &str) -> Option<(Vec<Arc<Entry>>, CacheWatch)> {
    let cache = lookup.stored(prefix)?;
    let (snapshot, watch) = cache.snapshot_and_watch(Scope::namespace(namespace));
    Some((snapshot.entries, watch))
}
