//! [`CustomKinds`]: the kinds served, the built-in ones and those that stored definitions stand for. A row comes when
//! its definition is established and goes with the definition; the watch cache holds the row's objects before the
//! table shows the row.
//!
//! Everything is by event: one task follows the definitions in the watch cache. Who must not see less than what was
//! acknowledged asks for [`ResourceSource::settled`] first.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base::{Supervisor, TaskKind};
use futures::FutureExt;
use resources::{KindTable, Resource, ResourceSource};
use tokio::sync::{mpsc, oneshot};

use crate::cache::specs::{cache_specs, stored_fields};
use crate::cache::{Cache, CacheError, CacheWatch, Entry, EventKind, ResourceCache, Scope, WatchEvent};

/// Where definitions are stored.
const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

type Told = Box<dyn Fn() + Send + Sync>;

/// See the module's documentation.
pub struct CustomKinds {
    table: ArcSwap<KindTable>,
    /// Replaced when the watch cache has to load anew.
    definitions: ArcSwap<ResourceCache>,
    /// The last change of a definition that the table shows.
    shown: AtomicU64,
    requests: mpsc::Sender<oneshot::Sender<()>>,
    listeners: Mutex<Vec<Told>>,
}

impl CustomKinds {
    /// Reads what is stored, and follows it until the supervisor's shutdown.
    ///
    /// # Errors
    /// When the watch cache does not hold definitions, or cannot load the objects of one.
    pub async fn start(cache: &Cache, supervisor: &Supervisor) -> Result<Arc<Self>, CacheError> {
        let definitions = cache.resource(DEFINITIONS).ok_or(CacheError::Closed)?;
        let (requests, inbox) = mpsc::channel(16);
        let kinds = Arc::new(Self {
            table: ArcSwap::new(resources::Builtin.table()),
            definitions: ArcSwap::new(definitions),
            shown: AtomicU64::new(0),
            requests,
            listeners: Mutex::default(),
        });
        let mut following =
            Following { kinds: Arc::clone(&kinds), cache: cache.clone(), rows: BTreeMap::new() };
        let watch = following.load().await?;
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Essential, "custom-kinds", async move {
            tokio::select! {
                () = shutdown.started() => {}
                () = following.run(watch, inbox) => {}
            }
        });
        Ok(kinds)
    }
}

impl ResourceSource for CustomKinds {
    fn table(&self) -> Arc<KindTable> {
        self.table.load_full()
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if self.shown.load(Ordering::Acquire) >= self.definitions.load().changed() {
                return;
            }
            let (reply, answer) = oneshot::channel();
            if self.requests.send(reply).await.is_ok() {
                // An error means that the task has ended: the server stops, and the table stays as it is.
                let _ended = answer.await;
            }
        })
    }

    fn on_change(&self, told: Told) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }
}

/// The task that keeps the table.
struct Following {
    kinds: Arc<CustomKinds>,
    cache: Cache,
    /// The rows of each definition, by its name.
    rows: BTreeMap<String, Vec<Arc<Resource>>>,
}

impl Following {
    /// Takes all definitions that there are.
    async fn load(&mut self) -> Result<CacheWatch, CacheError> {
        let (snapshot, watch) = self.kinds.definitions.load_full().snapshot_and_watch(Scope::default());
        let before = std::mem::take(&mut self.rows);
        for entry in &snapshot.entries {
            self.rows.insert(entry.name().to_owned(), rows_of(entry));
        }
        self.show(&before, snapshot.revision).await?;
        Ok(watch)
    }

    async fn run(mut self, mut watch: CacheWatch, mut inbox: mpsc::Receiver<oneshot::Sender<()>>) {
        loop {
            let (news, reply) = tokio::select! {
                news = watch.next() => (Some(news), None),
                Some(reply) = inbox.recv() => (watch.next().now_or_never(), Some(reply)),
            };
            if let Some(news) = news
                && !self.take_in(&mut watch, news).await
            {
                return;
            }
            // Nobody waits any more when this fails.
            let _gone = reply.map(|reply| reply.send(()));
        }
    }

    /// Takes in what there is without waiting; false when definitions are served no more.
    async fn take_in(&mut self, watch: &mut CacheWatch, first: Result<Vec<WatchEvent>, CacheError>) -> bool {
        let before = self.rows.clone();
        let mut upto = 0;
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                Ok(events) => {
                    for event in &events {
                        upto = upto.max(event.revision());
                        self.apply(event);
                    }
                }
                Err(CacheError::Closed) if !self.reopened() => return false,
                // Too many changes at once, or the watch cache has loaded anew: everything anew.
                Err(_) => match self.load().await {
                    Ok(fresh) => *watch = fresh,
                    Err(error) => {
                        tracing::error!(%error, "the custom kinds cannot be loaded");
                        return false;
                    }
                },
            }
            next = watch.next().now_or_never();
        }
        if let Err(error) = self.show(&before, upto).await {
            tracing::error!(%error, "a custom kind's objects cannot be loaded");
        }
        true
    }

    /// Takes the definitions' cache that has come in the place of one that has ended; false when none has.
    fn reopened(&self) -> bool {
        let Some(fresh) = self.cache.resource(DEFINITIONS) else { return false };
        let old = self.kinds.definitions.swap(Arc::clone(&fresh));
        !Arc::ptr_eq(&old, &fresh)
    }

    fn apply(&mut self, event: &WatchEvent) {
        let entry = event.object();
        let name = entry.name();
        if event.kind == EventKind::Deleted {
            self.rows.remove(name);
        } else {
            self.rows.insert(name.to_owned(), rows_of(entry));
        }
    }

    /// Has the watch cache hold what is to be served, and then serves it.
    async fn show(&self, before: &BTreeMap<String, Vec<Arc<Resource>>>, upto: u64) -> Result<(), CacheError> {
        let (old, new) = (specs_of(before), specs_of(&self.rows));
        for (prefix, (row, fields)) in &new {
            if old.get(prefix).is_none_or(|(_, known)| known != fields) {
                for spec in cache_specs(&KindTable::new(row.clone())) {
                    self.cache.register(spec).await?;
                }
            }
        }
        let mut rows: Vec<Arc<Resource>> = self.rows.values().flatten().cloned().collect();
        rows.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural)));
        self.kinds.table.store(Arc::new(resources::builtin().with(rows)));
        self.kinds.shown.fetch_max(upto, Ordering::AcqRel);
        for prefix in old.keys().filter(|prefix| !new.contains_key(*prefix)) {
            self.cache.unregister(prefix).await?;
        }
        for told in self.kinds.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            told();
        }
        Ok(())
    }
}

/// The rows stored at each place, and the fields that the cache has to extract of their objects.
type Places = HashMap<String, (Vec<Arc<Resource>>, Vec<String>)>;

fn specs_of(rows: &BTreeMap<String, Vec<Arc<Resource>>>) -> Places {
    let mut places = Places::new();
    for row in rows.values().flatten() {
        let (all, fields) = places.entry(row.storage_prefix.to_string()).or_default();
        all.push(Arc::clone(row));
        fields.extend(stored_fields(row).map(|field| field.name.to_string()));
    }
    places
}

/// The rows of a stored definition. One that cannot be read stands for none.
fn rows_of(entry: &Entry) -> Vec<Arc<Resource>> {
    match serde_json::from_slice(&entry.json.lean()) {
        Ok(definition) => resources::custom::rows(&definition),
        Err(error) => {
            tracing::error!(name = entry.name(), %error, "a stored definition cannot be read");
            Vec::new()
        }
    }
}
