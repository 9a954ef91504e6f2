//! [`Informers`]: one cache per kind (and selection) in a process, shared by all components.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use base::{Shutdown, Supervisor, TaskKind};
use futures::FutureExt;
use kube::Client;

use crate::cache::Objects;
use crate::reflector::{Beginning, follow};
use crate::scope::Scope;
use crate::{Cache, Kind};

struct Followed {
    objects: Objects,
    shutdown: Shutdown,
}

/// Makes caches on first use and keeps them fed until shutdown. Cheap to clone.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    supervisor: Supervisor,
    /// By the collection's URL path and the selection.
    followed: Arc<Mutex<HashMap<(String, Scope), Followed>>>,
}

impl Informers {
    /// All caches are followed with `client` and its identity.
    pub fn new(client: Client, supervisor: Supervisor) -> Self {
        Self { client, supervisor, followed: Arc::default() }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The cache of all objects of a kind, in all namespaces.
    pub fn cache<K: Kind>(&self) -> Cache<K> {
        self.cache_of(Scope::default())
    }

    /// The cache of the objects `scope` picks, in all namespaces.
    pub fn cache_of<K: Kind>(&self, scope: Scope) -> Cache<K> {
        Cache::over(self.follow(K::url_path(&(), None), scope, Beginning::Watched))
    }

    /// The objects of a collection by its URL path (`/apis/GROUP/VERSION/PLURAL`): the same objects
    /// that [`Informers::cache`] returns for the same kind.
    pub fn objects(&self, path: &str) -> Objects {
        self.follow(path.to_owned(), Scope::default(), Beginning::Watched)
    }

    /// The same of a collection of another server, which may be too old to begin a watch with the objects that are
    /// there: their metadata, at least.
    pub fn objects_elsewhere(&self, path: &str) -> Objects {
        self.follow(path.to_owned(), Scope::default(), Beginning::Listed)
    }

    /// Stops following a collection whose kind is no longer served.
    pub fn forget(&self, path: &str) {
        let gone = self.lock().remove(&(path.to_owned(), Scope::default()));
        if let Some(followed) = gone {
            followed.shutdown.start();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Scope), Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, path: String, scope: Scope, beginning: Beginning) -> Objects {
        let mut followed = self.lock();
        let slot = (path, scope);
        if let Some(held) = followed.get(&slot) {
            return held.objects.clone();
        }
        let objects = Objects::default();
        let shutdown = self.supervisor.shutdown().child();
        let task = follow(self.client.clone(), slot.clone(), beginning, objects.clone(), shutdown.clone());
        followed.insert(slot, Followed { objects: objects.clone(), shutdown });
        let role = self.supervisor.shutdown().clone();
        // Ends early where its kind is not served any more; a panic leaves a cache that lies, so all stop.
        self.supervisor.spawn(TaskKind::Background, "reflector", async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("a reflector panicked; stopping");
                role.start();
            }
        });
        objects
    }
}
