//! The watch cache: every stored object as encoded bytes, kept current by one watch of the store.
//!
//! Start with [`Cache`]: the cache follows the store (`feed`) and has one [`ResourceCache`] for each storage prefix,
//! which serves gets, lists ([`Snapshot`], [`PageQuery`]) and watches ([`CacheWatch`]). An object is decoded
//! once per change, when its [`Entry`] is made; after that all readers share its bytes ([`Json`]).
//!
//! Readers work on an immutable copy of the objects (`objects`, `collection`): no commit waits for a reader. Watchers
//! pull from the resource's ring of recent events, so a slow watcher delays nobody: when the ring has dropped the
//! watcher's next event, the watch ends. Watches of one exact value (a name, a node, a namespace) are woken only by
//! changes that concern the value (`lanes`). A watch that begins before the ring is served from the store's history
//! first (`past`).
//! Never here: a kind's name, a selector's syntax, an HTTP type.
//!
//! Around the cache: `specs` (what the cache must know of the kinds), [`lookup`] (objects by group and plural, for
//! decisions from memory) and `follow` (indexes kept current).

mod collection;
mod entry;
mod error;
mod event;
mod extract;
mod feed;
pub(crate) mod follow;
mod json;
mod lanes;
pub mod lookup;
mod objects;
mod paging;
mod past;
mod resource;
mod resource_spec;
mod ring;
mod scope;
mod signal;
pub(crate) mod specs;
mod store_calls;
mod templates;
mod version;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base::Supervisor;
use signal::Signal;
use store::{Revision, Store};
use tokio::sync::{mpsc, oneshot};

pub use entry::Entry;
pub use error::CacheError;
pub use event::{CacheEvent, EventKind, WatchEvent};
pub use extract::{Extract, Extracted, FieldSource, by_fields, by_paths};
pub use json::Json;
pub use paging::{Continue, Page, PageQuery};
pub use resource::{ResourceCache, Snapshot};
pub use resource_spec::ResourceSpec;
pub use scope::{Filter, Scope};
pub use store_calls::StoreCalls;
pub use templates::Templates;
pub(crate) use version::with_managed_fields;
pub use version::with_resource_version;
pub use watch::CacheWatch;

/// Where everything is stored.
pub const ROOT: &str = "/registry/";

/// How long a read waits for a revision that the cache has not reached yet, as upstream.
pub const FRESHNESS_PATIENCE: Duration = Duration::from_secs(3);

/// The watch caches of all resources. Clones share them.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<feed::Command>,
}

/// What the feed and the readers have in common.
struct Shared {
    /// Up to where everything is applied, and whether the feed has ended.
    applied: tokio::sync::watch::Sender<Signal>,
    resources: RwLock<HashMap<String, Arc<ResourceCache>>>,
    calls: StoreCalls,
}

impl Shared {
    fn resource(&self, prefix: &str) -> Option<Arc<ResourceCache>> {
        self.resources.read().unwrap_or_else(PoisonError::into_inner).get(prefix).cloned()
    }
}

impl Cache {
    /// Loads the resources named and goes on following the store until the supervisor's shutdown.
    ///
    /// # Errors
    /// The store's, when the objects cannot be read.
    pub async fn start(
        store: Arc<dyn Store>,
        supervisor: &Supervisor,
        resources: Vec<ResourceSpec>,
    ) -> Result<Self, CacheError> {
        let shared = Arc::new(Shared {
            applied: tokio::sync::watch::Sender::default(),
            resources: RwLock::default(),
            calls: StoreCalls::default(),
        });
        let commands = feed::start(store.clone(), shared.clone(), supervisor, resources).await?;
        Ok(Self { inner: Arc::new(Inner { store, shared, commands }) })
    }

    /// Adds a resource while running, loaded when this returns. Replaces one of the same prefix, whose
    /// watches end.
    pub async fn register(&self, spec: ResourceSpec) -> Result<Arc<ResourceCache>, CacheError> {
        let (reply, answer) = oneshot::channel();
        self.send(feed::Command::Register { spec, reply }).await?;
        answer.await.map_err(|_| CacheError::Closed)?
    }

    /// Takes a resource out; its watches end with [`CacheError::Closed`].
    pub async fn unregister(&self, prefix: &str) -> Result<(), CacheError> {
        let (reply, answer) = oneshot::channel();
        self.send(feed::Command::Unregister { prefix: prefix.to_owned(), reply }).await?;
        answer.await.map_err(|_| CacheError::Closed)
    }

    /// The cache of one storage prefix, as `things` or `example.com/things`. Look it up per request: it is
    /// replaced when the cache has to load anew.
    pub fn resource(&self, prefix: &str) -> Option<Arc<ResourceCache>> {
        self.inner.shared.resource(prefix)
    }

    /// The store that the cache follows.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The figures of the calls to the store, this cache's own and others'.
    pub fn store_calls(&self) -> &StoreCalls {
        &self.inner.shared.calls
    }

    /// The revision up to which everything is applied.
    pub fn revision(&self) -> Revision {
        self.inner.shared.applied.borrow().revision
    }

    /// Waits until the cache has applied `revision`: what a read after a write wants. Cancellation safe.
    ///
    /// # Errors
    /// [`CacheError::Closed`] when the feed has ended.
    pub async fn wait_fresh(&self, revision: Revision) -> Result<(), CacheError> {
        feed::wait_applied(&self.inner.shared, revision).await
    }

    /// Waits until the cache shows every write acknowledged before this call, by whatever server: what a read
    /// without a resource version wants (upstream's `ConsistentListFromCache`). Cancellation safe.
    ///
    /// Free where only this server writes: a write is acknowledged after its [`Cache::echo`]. Else the store is
    /// asked for its revision, and to tell the feed when it has come as far.
    ///
    /// # Errors
    /// [`CacheError::Future`] when the cache does not come as far in [`FRESHNESS_PATIENCE`]; the store's.
    pub async fn fresh(&self) -> Result<(), CacheError> {
        let store = &self.inner.store;
        if !store.is_shared() {
            return Ok(());
        }
        self.not_older(self.inner.shared.calls.revision(&**store).await?).await
    }

    /// Waits until the cache shows `asked`: what a read wants that names the oldest revision it may be served from.
    /// Cancellation safe.
    ///
    /// # Errors
    /// [`CacheError::Future`] when the cache does not come as far in [`FRESHNESS_PATIENCE`]; the store's.
    pub async fn not_older(&self, asked: Revision) -> Result<(), CacheError> {
        if self.revision() >= asked {
            return Ok(());
        }
        let store = &self.inner.store;
        if store.is_shared() {
            store.request_progress().await?;
        }
        match tokio::time::timeout(FRESHNESS_PATIENCE, self.wait_fresh(asked)).await {
            Ok(waited) => waited,
            Err(_) => Err(CacheError::Future { asked, current: self.revision() }),
        }
    }

    /// Whether others write to the store too, so that the cache may be behind what they have been told.
    pub fn is_shared(&self) -> bool {
        self.inner.store.is_shared()
    }

    /// Waits until the cache shows a write that the store has acknowledged, so that later reads see it. Where the
    /// store is shared, reads see to that themselves ([`Cache::fresh`]), and a cache that lags is not waited for
    /// beyond [`FRESHNESS_PATIENCE`].
    ///
    /// # Errors
    /// [`CacheError::Closed`] when the feed has ended.
    pub async fn echo(&self, revision: Revision) -> Result<(), CacheError> {
        let applied = self.wait_fresh(revision);
        if !self.inner.store.is_shared() {
            return applied.await;
        }
        tokio::time::timeout(FRESHNESS_PATIENCE, applied).await.unwrap_or_else(|_| {
            tracing::warn!(revision, current = self.revision(), "the watch cache lags behind a write");
            Ok(())
        })
    }

    async fn send(&self, command: feed::Command) -> Result<(), CacheError> {
        self.inner.commands.send(command).await.map_err(|_| CacheError::Closed)
    }
}
