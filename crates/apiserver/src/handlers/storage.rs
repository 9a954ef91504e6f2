//! Between objects and the store: [`Target`] reads an object's present state from the watch cache
//! and commits changes, each bound to the revision it was made from.
//!
//! A write is answered when the cache has it too, so a later read by anybody sees it.

use std::sync::Arc;

use api::{Error, GroupResource, Object, Reason};
use bytes::Bytes;
use resources::Resource;
use store::{Expect, KeyValue, Previous, Revision};

use crate::cache::{CacheError, Entry, ResourceCache, with_resource_version};
use crate::context::Context;

/// A resource that a request is about.
pub(crate) struct Target {
    pub context: Arc<Context>,
    pub row: Arc<Resource>,
    pub cache: Arc<ResourceCache>,
}

/// An object as it is stored now, in the version of the row, with its resource version.
#[derive(Clone)]
pub(crate) struct Stored {
    pub object: Object,
    pub revision: Revision,
}

/// Why a commit failed.
pub(crate) enum CommitError {
    /// Somebody was faster; what is there now.
    Conflict(Option<KeyValue>),
    Failed(Error),
}

impl Target {
    /// # Errors
    /// 503 when the resource is not loaded (it is just going or coming).
    pub(crate) fn new(context: Arc<Context>, row: Arc<Resource>) -> Result<Self, Error> {
        let cache = context.deps.cache.resource(&row.storage_prefix).ok_or_else(|| {
            Error::new(
                Reason::ServiceUnavailable,
                format!("{} is not being served now", row.group_resource()),
            )
        })?;
        Ok(Self { context, row, cache })
    }

    pub(crate) fn group_resource(&self) -> GroupResource {
        self.row.group_resource()
    }

    pub(crate) fn not_found(&self, name: &str) -> Error {
        Error::not_found(&self.group_resource(), name)
    }

    /// The object as the cache has it.
    pub(crate) fn read(&self, namespace: &str, name: &str) -> Result<Option<Stored>, Error> {
        self.cache.get(namespace, name).map(|entry| self.decode(&entry.json, entry.revision)).transpose()
    }

    /// The same, demanding that it is there.
    pub(crate) fn read_existing(&self, namespace: &str, name: &str) -> Result<Stored, Error> {
        self.read(namespace, name)?.ok_or_else(|| self.not_found(name))
    }

    /// What a conflict showed.
    pub(crate) fn read_value(&self, value: KeyValue) -> Result<Stored, Error> {
        let json = with_resource_version(&value.value, value.mod_revision)
            .ok_or_else(|| Error::internal("a stored value is no JSON object"))?;
        self.decode(&json, value.mod_revision)
    }

    fn decode(&self, json: &[u8], revision: Revision) -> Result<Stored, Error> {
        let mut object: Object = serde_json::from_slice(json).map_err(Error::internal)?;
        self.to_served(&mut object);
        Ok(Stored { object, revision })
    }

    fn to_served(&self, object: &mut Object) {
        if let Some(convert) = self.row.convert {
            (convert.from_storage)(object);
        }
    }

    /// An entry's JSON in the version of the row: shared bytes where that is the stored version.
    pub(crate) fn served(&self, entry: &Entry) -> Result<Bytes, Error> {
        self.served_bytes(&entry.json)
    }

    fn served_bytes(&self, json: &Bytes) -> Result<Bytes, Error> {
        if self.row.convert.is_none() {
            return Ok(json.clone());
        }
        let mut object: Object = serde_json::from_slice(json).map_err(Error::internal)?;
        self.to_served(&mut object);
        serde_json::to_vec(&object).map(Into::into).map_err(Error::internal)
    }

    /// What is stored of an object: in the storage version, without a resource version.
    fn encode(&self, mut object: Object) -> Result<Bytes, Error> {
        object.metadata_mut().remove("resourceVersion");
        if let Some(convert) = self.row.convert {
            (convert.to_storage)(&mut object);
        }
        serde_json::to_vec(&object).map(Into::into).map_err(Error::internal)
    }

    /// Writes an object and answers its JSON as served.
    pub(crate) async fn commit(&self, object: Object, expect: Expect) -> Result<Bytes, CommitError> {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        let key = self.row.key(&namespace, &name);
        let value = self.encode(object).map_err(CommitError::Failed)?;
        let put = self.context.deps.store.put(&key, value, expect, self.row.ttl_s).await;
        let operation = if expect == Expect::Absent { "create" } else { "update" };
        let written = put.map_err(|error| self.commit_error(error, operation))?;
        let revision = written.mod_revision;
        self.wait(revision).await.map_err(CommitError::Failed)?;
        let json = match self.cache.get(&namespace, &name) {
            Some(entry) if entry.revision == revision => entry.json.clone(),
            // Somebody has written again already; the answer is still this write.
            _ => with_resource_version(&written.value, revision)
                .ok_or_else(|| CommitError::Failed(Error::internal("a written value is no JSON object")))?,
        };
        self.served_bytes(&json).map_err(CommitError::Failed)
    }

    /// Deletes the object, if it still is as it was at `revision`.
    pub(crate) async fn remove(
        &self,
        namespace: &str,
        name: &str,
        revision: Revision,
    ) -> Result<(), CommitError> {
        let key = self.row.key(namespace, name);
        let expect = Expect::Revision(revision);
        let deleted = self.context.deps.store.delete(&key, expect, Previous::Unwanted).await;
        let deleted = deleted.map_err(|error| self.commit_error(error, "delete"))?;
        self.wait(deleted.revision).await.map_err(CommitError::Failed)
    }

    async fn wait(&self, revision: Revision) -> Result<(), Error> {
        self.context.deps.cache.echo(revision).await.map_err(|e| cache_error(&e))
    }

    fn commit_error(&self, error: store::Error, operation: &str) -> CommitError {
        match error {
            store::Error::Conflict { current } => CommitError::Conflict(current),
            other => CommitError::Failed(store_error(&other, &self.group_resource(), operation)),
        }
    }
}

/// What a client is told whose read failed.
pub(crate) fn read_error(error: &CacheError, resource: &GroupResource, operation: &str) -> Error {
    match error {
        CacheError::Store(inner) => store_error(inner, resource, operation),
        other => cache_error(other),
    }
}

/// What a client is told of the store's failures, as upstream
/// (`k8s.io/apiserver/pkg/storage/errors/storage.go`).
fn store_error(error: &store::Error, resource: &GroupResource, operation: &str) -> Error {
    match error {
        // Nothing was done: the client may simply ask again.
        store::Error::Unavailable(_) => Error::server_timeout(resource, operation, 2),
        // Nobody knows what was done: no hint to ask again, which clients would follow unseen.
        store::Error::Timeout(_) => Error::new(
            Reason::Timeout,
            "Timeout: request did not complete within requested timeout - context deadline exceeded",
        ),
        store::Error::TooLarge { .. } => Error::new(Reason::RequestEntityTooLarge, error.to_string()),
        store::Error::Closed => Error::new(Reason::ServiceUnavailable, "the server is shutting down"),
        // No hint to come back: kubectl would do so silently for a minute before it says what is wrong.
        store::Error::DiskFull(_) => Error::new(Reason::ServiceUnavailable, error.to_string()),
        other => Error::internal(other),
    }
}

/// What a client is told of the cache's failures.
pub(crate) fn cache_error(error: &CacheError) -> Error {
    match error {
        CacheError::Expired { .. } => Error::expired(error.to_string()),
        CacheError::Future { .. } => Error::new(Reason::Timeout, format!("Timeout: {error}"))
            .with_detail(
                "causes",
                serde_json::json!([{
                "reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]),
            )
            .with_detail("retryAfterSeconds", 1),
        CacheError::Closed => Error::new(Reason::ServiceUnavailable, "the server is shutting down"),
        CacheError::BadContinue(_) => Error::bad_request(error.to_string()),
        CacheError::Store(inner) => Error::internal(inner),
    }
}
