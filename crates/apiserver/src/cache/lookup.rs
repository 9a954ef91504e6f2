//! Reading stored objects of built-in kinds by group and plural, from the watch cache.
//!
//! Authentication, authorization and admission decide from memory: [`Lookup`] is their one way to objects.
//! It never reads the store and never waits.

use std::sync::Arc;

use api::Object;
use serde::de::DeserializeOwned;

use crate::cache::{Cache, Entry, ResourceCache};

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

    /// An object as it is stored. The namespace is empty for objects that live in none.
    pub fn entry(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.resource(group, plural)?.get(namespace, name)
    }

    /// An object, decoded; one that cannot be decoded counts as absent, which is logged.
    pub fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Object> {
        decode(&*self.entry(group, plural, namespace, name)?)
    }
}

/// What a stored object says to those who want only some of its fields.
pub(crate) fn decode<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    match serde_json::from_slice(&entry.json) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(key = %entry.key, %error, "a stored object is odd and counts as absent");
            None
        }
    }
}
