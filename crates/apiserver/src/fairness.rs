//! Priority and fairness: who is worked on first when there are more requests than the server can work on at a time.
//!
//! Start with [`Fairness`]. Each request is classed by the first flow schema that matches (`schema`) and takes seats of
//! the schema's priority level (`gate`, over the pure `level`), as many as `width` says. Levels share the server's seats
//! (`shares`) and lend one another what they do not need (`balance`). The objects are followed; `config` makes of them
//! what requests are judged by, which is replaced as a whole. Until they are there, the mandatory ones count.
//! Upstream: KEP-1040, `k8s.io/apiserver/pkg/util/flowcontrol`.

mod balance;
mod config;
mod dealer;
mod demand;
mod dump;
mod estimate;
mod gate;
mod level;
mod metrics;
mod retry;
mod schema;
mod shares;
mod width;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::{Error, GroupVersion};
use arc_swap::ArcSwap;
use base::{Clock, Supervisor, TaskKind};
use resources::KindTable;
use resources::flowcontrol::GROUP;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cache::follow::{Follower, Index, follow};
use crate::cache::lookup::{Lookup, decode};
use crate::cache::{Cache, Entry, EventKind, WatchEvent};
use crate::request::User;
use crate::request::path::RequestInfo;
use crate::request::query::Query;
use config::{Config, Stored};
pub(crate) use gate::{Class, Seat};
use gate::{Details, Incoming};
use level::Work;
pub(crate) use metrics::FairnessMetrics;

/// No request waits longer for its turn.
const MOST_PATIENCE: Duration = Duration::from_secs(60);

/// Classes and limits requests.
pub(crate) struct Fairness {
    shared: Arc<Shared>,
    hasher: RandomState,
    patience: Duration,
    /// Following ends with it.
    _follower: Option<Follower>,
}

struct Shared {
    /// The seats of all levels.
    total: u32,
    config: ArcSwap<Config>,
    stored: Mutex<Stored>,
    balance: Mutex<balance::Balance>,
    /// Rung when there is something to do by time.
    bell: Notify,
    metrics: FairnessMetrics,
    reading: AtomicUsize,
    mutating: AtomicUsize,
}

/// A request that asks to be let in.
pub(crate) struct Request<'a> {
    pub user: &'a User,
    pub info: &'a RequestInfo,
    pub query: &'a Query,
    pub clock: &'a dyn Clock,
}

impl Fairness {
    /// Follows the flow schemas and priority levels that the cache holds. A cache without these kinds leaves the
    /// mandatory ones in force. `total`: the server's seats.
    pub(crate) fn start(
        total: usize,
        request_timeout: Duration,
        cache: &Cache,
        supervisor: &Supervisor,
        metrics: FairnessMetrics,
    ) -> Self {
        let (total, now) = (u32::try_from(total).unwrap_or(u32::MAX), Instant::now());
        let first = config::read(&Stored::default(), None, total, &metrics, now);
        let shared = Arc::new(Shared {
            total,
            config: ArcSwap::from_pointee(first),
            stored: Mutex::default(),
            balance: Mutex::default(),
            bell: Notify::new(),
            metrics,
            reading: AtomicUsize::new(0),
            mutating: AtomicUsize::new(0),
        });
        shared.divide(&shared.config.load(), now);
        let lookup = Lookup::new(cache.clone());
        let sources: Option<Vec<_>> =
            Kind::ALL.iter().map(|kind| lookup.resource(GROUP, kind.plural())).collect();
        let follower = sources
            .map(|sources| follow(shared.clone(), sources, supervisor, "priority-and-fairness-config"));
        let run = balance::run(shared.clone(), supervisor.shutdown().clone());
        supervisor.spawn(TaskKind::Essential, "priority-and-fairness", run);
        let patience = (request_timeout / 4).min(MOST_PATIENCE);
        Self { shared, hasher: RandomState::new(), patience, _follower: follower }
    }

    /// The class of a request.
    pub(crate) fn class(&self, user: &User, info: &RequestInfo) -> Arc<Class> {
        let config = self.shared.config.load();
        let found = config.classes.iter().find(|class| class.matcher.matches(user, info));
        found.or(config.classes.last()).expect("there is a class for what no other matches").clone()
    }

    /// Takes seats for a request of this class, at once or when its turn has come.
    ///
    /// # Errors
    /// 429 when the level is full and the request can wait no more.
    pub(crate) async fn enter(
        &self,
        class: &Arc<Class>,
        request: &Request<'_>,
        cache: &Cache,
        table: &KindTable,
    ) -> Result<Seat, Error> {
        let Request { user, info, query, clock } = *request;
        let flow = class.matcher.flow(user, info);
        let incoming = Incoming {
            hash: if class.exempt { 0 } else { self.hasher.hash_one((&*class.name, flow)) },
            work: match class.exempt {
                true => Work::simple(1),
                false => estimate::work(cache, table, info, query, class.most),
            },
            read_only: info.read_only(),
            watch: info.verb == "watch",
            patience: self.patience,
        };
        let details = || Details {
            flow: flow.to_owned(),
            arrived: clock.now().to_string(),
            user: user.name.clone(),
            verb: info.verb,
            path: info.path.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_version: GroupVersion::new(&info.group, &info.version).to_string(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
        };
        gate::enter(&self.shared, class, incoming, details).await
    }

    /// Requests in progress: (reading, mutating).
    pub(crate) fn now(&self) -> (usize, usize) {
        (self.shared.reading.load(Ordering::Relaxed), self.shared.mutating.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn lane(&self, read_only: bool) -> &AtomicUsize {
        if read_only { &self.reading } else { &self.mutating }
    }

    /// Changes what is stored, and judges by that from now on.
    fn change(&self, change: impl FnOnce(&mut Stored)) {
        let now = Instant::now();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stored);
        let next = Arc::new(config::read(&stored, Some(&self.config.load()), self.total, &self.metrics, now));
        // Nobody divides by the old configuration after the new one is there.
        let _dividing = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        self.config.store(next.clone());
        drop(stored);
        self.divide(&next, now);
    }
}

/// The kinds that are followed, by their place among the sources.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Schema,
    Level,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Schema, Self::Level];

    fn plural(self) -> &'static str {
        match self {
            Self::Schema => "flowschemas",
            Self::Level => "prioritylevelconfigurations",
        }
    }
}

impl Stored {
    fn take(&mut self, kind: Kind, entry: &Entry, gone: bool) {
        match kind {
            Kind::Schema => put(&mut self.schemas, entry, gone),
            Kind::Level => put(&mut self.levels, entry, gone),
        }
    }
}

fn put<K: DeserializeOwned>(objects: &mut std::collections::BTreeMap<String, K>, entry: &Entry, gone: bool) {
    let name = entry.name();
    match decode(entry).filter(|_| !gone) {
        Some(object) => drop(objects.insert(name.to_owned(), object)),
        None => drop(objects.remove(name)),
    }
}

impl Index for Shared {
    fn replace(&self, source: usize, entries: &[Arc<Entry>]) {
        self.change(|stored| {
            match Kind::ALL[source] {
                Kind::Schema => stored.schemas.clear(),
                Kind::Level => stored.levels.clear(),
            }
            for entry in entries {
                stored.take(Kind::ALL[source], entry, false);
            }
        });
    }

    fn apply(&self, source: usize, events: &[WatchEvent]) {
        self.change(|stored| {
            for event in events {
                stored.take(Kind::ALL[source], event.object(), event.kind == EventKind::Deleted);
            }
        });
    }
}

#[cfg(test)]
mod tests;
