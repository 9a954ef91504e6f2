//! Follows the metadata of every kind and feeds the graph; starts and stops following kinds as they are added and
//! removed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use base::{Shutdown, Supervisor, TaskKind};
use client::{EventType, Recorder};
use informer::cache::Change;
use informer::{Informers, Queue};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use resources::{KindTable, Resource, ResourceSource};
use tokio::sync::watch;

use super::graph::{Graph, InvalidReference, News, Work};
use crate::collection::{collection, followed};

/// The graph and all that feeds it.
pub(super) struct Monitors {
    pub client: Client,
    pub queue: Queue<Work>,
    informers: Informers,
    kinds: Arc<dyn ResourceSource>,
    graph: Mutex<Graph>,
    recorder: Recorder,
    supervisor: Supervisor,
    /// The paths of the collections followed, by where their objects are stored.
    running: Mutex<HashMap<String, (String, Shutdown)>>,
    /// Kinds whose first list is missing.
    unsynced: watch::Sender<usize>,
}

impl Monitors {
    pub fn new(
        client: Client,
        informers: Informers,
        kinds: Arc<dyn ResourceSource>,
        recorder: Recorder,
        supervisor: Supervisor,
        queue: Queue<Work>,
    ) -> Arc<Self> {
        let changed = queue.clone();
        kinds.on_change(Box::new(move || changed.add(Work::Kinds)));
        Arc::new(Self {
            client,
            informers,
            queue,
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

    /// Follows exactly the kinds that are served now.
    pub fn follow_kinds(self: &Arc<Self>) {
        let wanted = followed(&self.table());
        let mut running = self.running.lock().unwrap_or_else(|e| e.into_inner());
        let prefixes: HashSet<&str> = wanted.iter().map(|row| &*row.storage_prefix).collect();
        running.retain(|prefix, (path, shutdown)| {
            let stays = prefixes.contains(prefix.as_str());
            if !stays {
                shutdown.start();
                self.informers.forget(path);
            }
            stays
        });
        for row in wanted {
            if !running.contains_key(&*row.storage_prefix) {
                let shutdown = self.supervisor.shutdown().child();
                let path = collection(&row);
                running.insert(row.storage_prefix.to_string(), (path.clone(), shutdown.clone()));
                self.follow(row, &path, shutdown);
            }
        }
        drop(running);
        let again = self.graph().unresolved();
        self.add(again);
    }

    fn follow(self: &Arc<Self>, row: Arc<Resource>, path: &str, shutdown: Shutdown) {
        // Another server may not answer: nothing waits for it.
        let is_awaited = !row.elsewhere;
        if is_awaited {
            self.unsynced.send_modify(|missing| *missing += 1);
        }
        let objects = match row.elsewhere {
            true => self.informers.objects_elsewhere(path),
            false => self.informers.objects(path),
        };
        let (monitors, ended) = (self.clone(), shutdown.clone());
        objects.subscribe(move |change| {
            if !ended.is_started() {
                monitors.learn(&row, change);
            }
        });
        if !is_awaited {
            return;
        }
        let monitors = self.clone();
        self.supervisor.spawn(TaskKind::Background, "garbage collector monitor", async move {
            // A kind that goes before its objects are complete must not be waited for.
            tokio::select! {
                () = objects.wait_synced() => {}
                () = shutdown.started() => {}
            }
            monitors.unsynced.send_modify(|missing| *missing = missing.saturating_sub(1));
        });
    }

    fn learn(&self, row: &Arc<Resource>, change: &Change) {
        let meta = change.item.meta();
        let news = if change.gone {
            self.graph().gone(&meta.uid)
        } else {
            self.graph().seen(&self.table(), row, meta)
        };
        self.take(news);
    }

    fn add(&self, work: Vec<Work>) {
        for one in work {
            self.queue.add(one);
        }
    }

    /// Queues the tasks of a change and records its findings as events.
    pub fn take(&self, news: News) {
        self.add(news.work);
        for invalid in &news.invalid {
            let (about, message) = described(invalid);
            self.recorder.event(&about, EventType::Warning, "OwnerRefInvalidNamespace", message);
        }
    }
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
