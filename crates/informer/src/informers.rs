//! [`Informers`]: one cache per kind (and selection), shared by everyone in a component who asks.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base::{Supervisor, TaskKind};
use kube::{Api, Client};

use crate::reflector::reflect;
use crate::{Cache, Kind};

/// Which objects of a kind a cache follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
}

impl Scope {
    /// Objects a field selector picks, e.g. `spec.nodeName=n1`.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: Some(selector.into()), ..Self::default() }
    }

    /// Objects a label selector picks.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: Some(selector.into()), ..Self::default() }
    }
}

type Slots = HashMap<(TypeId, Scope), Box<dyn Any + Send>>;

/// Makes caches on first use and keeps them fed until shutdown. Cheap to clone.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    supervisor: Supervisor,
    caches: Arc<Mutex<Slots>>,
}

impl Informers {
    pub fn new(client: Client, supervisor: Supervisor) -> Self {
        Self { client, supervisor, caches: Arc::default() }
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
        let mut caches = self.caches.lock().unwrap_or_else(|e| e.into_inner());
        let slot = (TypeId::of::<K>(), scope.clone());
        if let Some(cache) = caches.get(&slot).and_then(|c| c.downcast_ref::<Cache<K>>()) {
            return cache.clone();
        }
        let cache = Cache::<K>::new();
        caches.insert(slot, Box::new(cache.clone()));
        let task = reflect(
            Api::<K>::all(self.client.clone()),
            scope.label_selector,
            scope.field_selector,
            cache.clone(),
            self.supervisor.shutdown().clone(),
        );
        self.supervisor.spawn(TaskKind::Essential, "reflector", task);
        cache
    }
}
