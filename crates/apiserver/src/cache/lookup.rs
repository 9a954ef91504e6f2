//! Reading stored objects of built-in kinds by group and plural, from the watch cache.
//!
//! Authentication, authorization and admission decide from memory: [`Lookup`] is their only access to objects.
//! A lookup never reads the store; only [`Lookup::awaited`] and [`Lookup::freshen`] wait.

use std::sync::Arc;
use std::time::Duration;

use api::Object;
use serde::de::DeserializeOwned;

use crate::cache::{Cache, Entry, ResourceCache, Scope};

/// Finds objects by group, plural, namespace and name. Cheap to clone.
#[derive(Clone)]
pub struct Lookup {
    cache: Cache,
}

impl Lookup {
    pub fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// The watch cache of a built-in resource; `None` when no such resource is served or cached.
    pub fn resource(&self, group: &str, plural: &str) -> Option<Arc<ResourceCache>> {
        let table = resources::builtin();
        let version = table.preferred_version(group)?;
        self.cache.resource(&table.find(group, version, plural)?.storage_prefix)
    }

    /// The watch cache of what is stored under a prefix, of a built-in resource or another.
    pub fn stored(&self, prefix: &str) -> Option<Arc<ResourceCache>> {
        self.cache.resource(prefix)
    }

    /// An object as it is stored. The namespace is empty for objects that live in none.
    pub fn entry(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.resource(group, plural)?.get(namespace, name)
    }

    /// Waits until an object is there, at most for `patience`. Cancellation safe.
    pub async fn awaited(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        patience: Duration,
    ) -> Option<Arc<Entry>> {
        let cache = self.resource(group, plural)?;
        let scope = Scope { namespace: Some(namespace.to_owned()), ..Scope::default() };
        // Joined before the first look: what comes in between is known to the watch.
        let (_, mut watch) = cache.snapshot_and_watch(scope.with("metadata.name", name));
        let appears = async {
            loop {
                if let Some(entry) = cache.get(namespace, name) {
                    return Some(entry);
                }
                // The resource is served no more, or too much has changed at once to be told.
                watch.next().await.ok()?;
            }
        };
        tokio::time::timeout(patience, appears).await.ok()?
    }

    /// Whether the cache may be behind what other servers have written.
    pub fn may_lag(&self) -> bool {
        self.cache.is_shared()
    }

    /// Waits until the cache shows what was acknowledged before; see [`Cache::fresh`]. A cache that does not come so
    /// far decides by what it has, which is logged.
    pub async fn freshen(&self) {
        if let Err(error) = self.cache.fresh().await {
            tracing::warn!(%error, "the watch cache lags; what is decided from it may be old");
        }
    }

    /// An object, decoded; one that cannot be decoded counts as absent, which is logged.
    pub fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Object> {
        let entry = self.entry(group, plural, namespace, name)?;
        read(&entry, &entry.json.whole())
    }
}

/// What a stored object says to those who want only some of its fields, and not the managed ones.
pub(crate) fn decode<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    read(entry, &entry.json.lean())
}

fn read<T: DeserializeOwned>(entry: &Entry, json: &[u8]) -> Option<T> {
    match serde_json::from_slice(json) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(key = %entry.key, %error, "a stored object is odd and counts as absent");
            None
        }
    }
}
