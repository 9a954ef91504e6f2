//! [`Book`]: which node ports Services have, counted from the watch cache, and which are claimed for writes in progress.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use store::Revision;

use crate::cache::lookup::{Lookup, decode};
use crate::cache::{CacheError, CacheWatch, Entry, EventKind, Scope, WatchEvent};

/// How long a claim stays whose write nobody knows the outcome of and which the cache does not show: as long as a
/// request may take.
const DOUBT: SignedDuration = SignedDuration::from_secs(60);

/// Names a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClaimId(u64);

/// The ports that a write will use beyond those that the Service had.
pub(super) struct Claim {
    pub uid: String,
    /// The revision of the Service that is changed; `None` for a new one.
    pub base: Option<Revision>,
    pub ports: Vec<u16>,
}

struct Pending {
    claim: Claim,
    /// Since when nobody knows whether the write took place.
    doubtful: Option<Timestamp>,
}

/// What a Service says about its ports.
#[derive(Deserialize)]
struct Service {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    health_check_node_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    node_port: u16,
}

/// See the module's documentation.
pub(super) struct Book {
    lookup: Lookup,
    watch: CacheWatch,
    /// The ports of each Service, by its key.
    stored: HashMap<Arc<str>, Vec<u16>>,
    pending: HashMap<ClaimId, Pending>,
    /// How often each port is stored or claimed.
    uses: HashMap<u16, usize>,
    next: u64,
}

impl Book {
    /// Counts what is stored; `None` where Services are not cached.
    pub fn open(lookup: Lookup) -> Option<Self> {
        let (entries, watch) = load(&lookup)?;
        let mut book = Self {
            lookup,
            watch,
            stored: HashMap::new(),
            pending: HashMap::new(),
            uses: HashMap::new(),
            next: 0,
        };
        entries.iter().for_each(|entry| book.put(entry));
        Some(book)
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
        let over =
            |pending: &Pending| pending.doubtful.is_some_and(|since| now.duration_since(since) >= DOUBT);
        self.settle(over);
    }

    pub fn is_taken(&self, port: u16) -> bool {
        self.uses.contains_key(&port)
    }

    pub fn claim(&mut self, claim: Claim) -> ClaimId {
        let id = ClaimId(self.next);
        self.next += 1;
        self.count(&claim.ports);
        self.pending.insert(id, Pending { claim, doubtful: None });
        id
    }

    /// The ports of a claim that the cache has not shown yet.
    pub fn claimed(&self, id: ClaimId) -> Vec<u16> {
        self.pending.get(&id).map(|pending| pending.claim.ports.clone()).unwrap_or_default()
    }

    /// Whether nobody else has a port of the claim.
    pub fn is_sole(&self, id: ClaimId) -> bool {
        self.claimed(id).iter().all(|port| self.uses.get(port) == Some(&1))
    }

    /// Takes a claim back. One that the cache has shown since is gone already.
    pub fn withdraw(&mut self, id: ClaimId) {
        if let Some(pending) = self.pending.remove(&id) {
            self.uncount(&pending.claim.ports);
        }
    }

    /// Notes that nobody knows whether the write took place.
    pub fn doubt(&mut self, id: ClaimId, now: Timestamp) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.doubtful = Some(now);
        }
    }

    fn learn(&mut self, event: &WatchEvent) {
        let entry = &event.event.entry;
        match event.kind {
            EventKind::Deleted => self.remove(&entry.key),
            EventKind::Added | EventKind::Modified => self.put(entry),
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(ports) = self.stored.remove(key) {
            self.uncount(&ports);
        }
    }

    /// Counts a Service as it is now, and settles its claim: the Service is the claim's own write, or has ruled that
    /// out.
    fn put(&mut self, entry: &Entry) {
        self.remove(&entry.key);
        let Some(Service { metadata, spec }) = decode::<Service>(entry) else { return };
        let ports = spec.ports.iter().map(|port| port.node_port);
        let ports: Vec<u16> = ports.chain([spec.health_check_node_port]).filter(|port| *port != 0).collect();
        if !ports.is_empty() {
            self.count(&ports);
            self.stored.insert(Arc::clone(&entry.key), ports);
        }
        self.settle(|Pending { claim, .. }| {
            claim.uid == metadata.uid && claim.base.is_none_or(|base| entry.revision > base)
        });
    }

    /// Forgets the claims for which `is_over` holds.
    fn settle(&mut self, is_over: impl Fn(&Pending) -> bool) {
        let over: Vec<ClaimId> =
            self.pending.iter().filter(|(_, pending)| is_over(pending)).map(|(id, _)| *id).collect();
        for id in over {
            self.withdraw(id);
        }
    }

    fn count(&mut self, ports: &[u16]) {
        for port in ports {
            *self.uses.entry(*port).or_default() += 1;
        }
    }

    fn uncount(&mut self, ports: &[u16]) {
        for port in ports {
            match self.uses.get_mut(port) {
                Some(uses) if *uses > 1 => *uses -= 1,
                _ => drop(self.uses.remove(port)),
            }
        }
    }

    /// Counts everything anew where events were lost; false where Services are served no more.
    fn reload(&mut self, why: &CacheError, now: Timestamp) -> bool {
        let Some((entries, watch)) = load(&self.lookup) else { return false };
        tracing::debug!(%why, "counting all node ports anew");
        self.watch = watch;
        for (_, ports) in std::mem::take(&mut self.stored) {
            self.uncount(&ports);
        }
        // The Service of a claim may have come and gone among what was lost.
        for pending in self.pending.values_mut() {
            pending.doubtful.get_or_insert(now);
        }
        entries.iter().for_each(|entry| self.put(entry));
        true
    }
}

fn load(lookup: &Lookup) -> Option<(Vec<Arc<Entry>>, CacheWatch)> {
    let (snapshot, watch) = lookup.resource("", "services")?.snapshot_and_watch(Scope::default());
    Some((snapshot.entries, watch))
}
