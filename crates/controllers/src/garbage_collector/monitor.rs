//! Follows the metadata of every kind and feeds the graph; starts and stops with the kinds there are.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::{Shutdown, Supervisor, TaskKind};
use client::{EventType, Recorder};
use informer::{Feed, Metadata, Queue};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::core::ApiResource;
use resources::{KindTable, Resource, ResourceSource, Verb};
use tokio::sync::watch;

use super::graph::{Graph, InvalidReference, News, Uid, Work};

/// The group whose objects define kinds.
const KIND_DEFINITIONS: &str = "apiextensions.k8s.io";
/// How long after a definition changed the table of kinds is read again.
const TABLE_DELAY: Duration = Duration::from_secs(2);

/// The graph and all that feeds it.
pub(super) struct Monitors {
    pub client: Client,
    pub queue: Queue<Work>,
    kinds: Arc<dyn ResourceSource>,
    graph: Mutex<Graph>,
    recorder: Recorder,
    supervisor: Supervisor,
    running: Mutex<HashMap<String, Shutdown>>,
    /// Kinds whose first list is missing.
    unsynced: watch::Sender<usize>,
}

impl Monitors {
    pub fn new(
        client: Client,
        kinds: Arc<dyn ResourceSource>,
        recorder: Recorder,
        supervisor: Supervisor,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            queue: Queue::default(),
            kinds,
            graph: Mutex::default(),
            recorder,
            supervisor,
            running: Mutex::default(),
            unsynced: watch::channel(0).0,
        })
    }

    pub fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn table(&self) -> Arc<KindTable> {
        self.kinds.table()
    }

    /// Waits until every kind was listed once. Cancellation safe.
    pub async fn wait_synced(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.unsynced.subscribe().wait_for(|missing| *missing == 0).await;
    }

    /// Follows the kinds there are now, and no others.
    pub fn follow_kinds(self: &Arc<Self>) {
        let wanted = followed(&self.table());
        let mut running = self.running.lock().unwrap_or_else(|e| e.into_inner());
        let prefixes: HashSet<&str> = wanted.iter().map(|row| &*row.storage_prefix).collect();
        running.retain(|prefix, shutdown| {
            let stays = prefixes.contains(prefix.as_str());
            if !stays {
                shutdown.start();
            }
            stays
        });
        for row in wanted {
            if !running.contains_key(&*row.storage_prefix) {
                let shutdown = self.supervisor.shutdown().child();
                running.insert(row.storage_prefix.to_string(), shutdown.clone());
                self.follow(row, shutdown);
            }
        }
        drop(running);
        let again = self.graph().unresolved();
        self.add(again);
    }

    fn follow(self: &Arc<Self>, row: Arc<Resource>, shutdown: Shutdown) {
        self.unsynced.send_modify(|missing| *missing += 1);
        let kind = ApiResource {
            group: row.group.to_string(),
            version: row.version.to_string(),
            api_version: row.group_version().to_string(),
            kind: row.kind.to_string(),
            plural: row.plural.to_string(),
        };
        let feed = KindFeed { monitors: self.clone(), row, synced: false };
        let client = self.client.clone();
        self.supervisor.spawn(TaskKind::Background, "garbage collector monitor", async move {
            informer::follow_metadata(client, &kind, feed, shutdown).await;
        });
    }

    fn add(&self, work: Vec<Work>) {
        for one in work {
            self.queue.add(one);
        }
    }

    /// Queues and tells what came of a change.
    pub fn take(&self, news: News) {
        self.add(news.work);
        for invalid in &news.invalid {
            let (about, message) = described(invalid);
            self.recorder.event(&about, EventType::Warning, "OwnerRefInvalidNamespace", message);
        }
    }
}

/// One kind's part in the graph.
struct KindFeed {
    monitors: Arc<Monitors>,
    row: Arc<Resource>,
    synced: bool,
}

impl KindFeed {
    fn kinds_may_change(&self) {
        if self.row.group == KIND_DEFINITIONS {
            self.monitors.queue.add_after(Work::Kinds, TABLE_DELAY);
        }
    }
}

impl Feed<Metadata> for KindFeed {
    fn replace(&mut self, objects: Vec<Metadata>) {
        let table = self.monitors.table();
        let present: HashSet<Uid> =
            objects.iter().filter_map(|o| o.metadata.uid.as_deref()).map(Uid::from).collect();
        let news = self.monitors.graph().listed(&self.row, &present);
        self.monitors.take(news);
        for object in &objects {
            let news = self.monitors.graph().seen(&table, &self.row, &object.metadata);
            self.monitors.take(news);
        }
        if !std::mem::replace(&mut self.synced, true) {
            self.monitors.unsynced.send_modify(|missing| *missing = missing.saturating_sub(1));
        }
        self.kinds_may_change();
    }

    fn apply(&mut self, object: Metadata) {
        let table = self.monitors.table();
        let news = self.monitors.graph().seen(&table, &self.row, &object.metadata);
        self.monitors.take(news);
        self.kinds_may_change();
    }

    fn remove(&mut self, object: Metadata) {
        let news = self.monitors.graph().gone(object.metadata.uid.as_deref().unwrap_or(""));
        self.monitors.take(news);
        self.kinds_may_change();
    }
}

impl Drop for KindFeed {
    fn drop(&mut self) {
        // A kind that went before its first list must not be waited for.
        if !self.synced {
            self.monitors.unsynced.send_modify(|missing| *missing = missing.saturating_sub(1));
        }
    }
}

/// The kinds to follow: what can be listed, watched and deleted, each in one version. Events are left out:
/// they own nothing, are owned by nothing, and are many.
fn followed(table: &KindTable) -> Vec<Arc<Resource>> {
    let mut seen = HashSet::new();
    let able = |row: &Resource| [Verb::List, Verb::Watch, Verb::Delete].into_iter().all(|v| row.supports(v));
    table
        .rows()
        .filter(|row| able(row) && &*row.plural != "events")
        .filter(|row| seen.insert(row.storage_prefix.to_string()))
        .cloned()
        .collect()
}

/// The event about a reference that points out of its namespace, in upstream's words.
fn described(invalid: &InvalidReference) -> (ObjectReference, String) {
    let InvalidReference { dependent, owner } = invalid;
    let about = ObjectReference {
        api_version: Some(dependent.row.group_version().to_string()),
        kind: Some(dependent.row.kind.to_string()),
        namespace: Some(dependent.namespace.to_string()).filter(|ns| !ns.is_empty()),
        name: Some(dependent.name.to_string()),
        uid: Some(dependent.uid.to_string()),
        ..ObjectReference::default()
    };
    let namespace = &dependent.namespace;
    let message = format!(
        "ownerRef [{}/{}, namespace: {namespace}, name: {}, uid: {}] does not exist in namespace {:?}",
        owner.api_version, owner.kind, owner.name, owner.uid, namespace
    );
    (about, message)
}
