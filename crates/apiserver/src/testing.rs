//! For tests: a watch cache of the built-in kinds over a store in memory.

use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, Supervisor};
use serde_json::Value;
use store::{Expect, Memory, Previous, Store, memory};

use crate::cache::Cache;
use crate::cache::lookup::Lookup;
use crate::cache::specs::cache_specs;
use crate::webhook::{Caller, Services};

pub(crate) struct Fixture {
    pub store: Arc<Memory>,
    pub supervisor: Supervisor,
    pub cache: Cache,
    pub lookup: Lookup,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(Memory::new(memory::Config::default()));
        let supervisor = Supervisor::new(Shutdown::new());
        let specs = cache_specs(resources::builtin());
        let cache = Cache::start(store.clone(), &supervisor, specs).await.unwrap();
        let lookup = Lookup::new(cache.clone());
        Self { store, supervisor, cache, lookup }
    }

    /// Stores an object under `/registry/KEY` and waits until the cache has it.
    pub(crate) async fn put(&self, key: &str, object: &Value) {
        let key = format!("/registry/{key}");
        let value = serde_json::to_vec(object).unwrap();
        let put = self.store.put(&key, value.into(), Expect::Anything, None).await.unwrap();
        self.cache.wait_fresh(put.mod_revision).await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        let key = format!("/registry/{key}");
        let deleted = self.store.delete(&key, Expect::Anything, Previous::Unwanted).await.unwrap();
        let revision = deleted.revision;
        self.cache.wait_fresh(revision).await.unwrap();
    }

    /// What calls webhooks.
    pub(crate) fn caller(&self) -> Caller {
        Caller::new(Arc::new(Services::new(self.cache.clone())), &self.supervisor)
    }

    pub(crate) async fn stop(self) {
        self.supervisor.shutdown().start();
        self.supervisor.drain(Duration::from_secs(5)).await;
        self.store.close().await.unwrap();
    }
}
