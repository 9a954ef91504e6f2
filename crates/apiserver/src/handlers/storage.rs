//! Between objects and the store: [`Target`] reads an object's current state from the watch cache
//! and commits changes, each bound to the revision that the change was made from.
//!
//! A write is answered once the cache contains the write, so that every later read sees it.

use std::sync::Arc;

use api::layout::Typed;
use api::{Error, GroupResource, Object, Reason};
use base::TaskKind;
use bytes::Bytes;
use resources::{Resource, Schema};
use store::{Expect, KeyValue, Previous, Revision};
use tokio::sync::oneshot;

use crate::admission::{Attempt, Committed, Reservations};
use crate::cache::{
    CacheError, Entry, ResourceCache, StoreCalls, with_managed_fields, with_resource_version,
};
use crate::context::Context;
use crate::conversion::Converter;

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
    /// Managed fields that the object was read without, for who does not change them: as they stand in JSON. Empty
    /// where the object has its own.
    pub apart: Bytes,
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
    pub(crate) async fn read(&self, namespace: &str, name: &str) -> Result<Option<Stored>, Error> {
        match self.cache.get(namespace, name) {
            Some(entry) => self.decode(&entry.json.whole(), entry.revision).await.map(Some),
            None => Ok(None),
        }
    }

    /// As [`Target::read_existing`], for a change that leaves the managed fields as they are: these, which are often
    /// half of an object, are not read but put back as they were when the object is committed.
    pub(crate) async fn read_apart(&self, namespace: &str, name: &str) -> Result<Stored, Error> {
        if self.converts() {
            return self.read_existing(namespace, name).await;
        }
        let entry = self.cache.get(namespace, name).ok_or_else(|| self.not_found(name))?;
        let stored = self.decode(&entry.json.lean(), entry.revision).await?;
        Ok(Stored { apart: entry.json.managed_fields(), ..stored })
    }

    /// The same, demanding that it is there.
    pub(crate) async fn read_existing(&self, namespace: &str, name: &str) -> Result<Stored, Error> {
        self.read(namespace, name).await?.ok_or_else(|| self.not_found(name))
    }

    /// What a conflict showed.
    pub(crate) async fn read_value(&self, value: KeyValue) -> Result<Stored, Error> {
        let json = with_resource_version(&value.value, value.mod_revision)
            .ok_or_else(|| Error::internal("a stored value is no JSON object"))?;
        self.decode(&json, value.mod_revision).await
    }

    async fn decode(&self, json: &[u8], revision: Revision) -> Result<Stored, Error> {
        let mut object: Object = serde_json::from_slice(json).map_err(Error::internal)?;
        self.converter().to_served(&self.row, std::slice::from_mut(&mut object)).await?;
        Ok(Stored { object, revision, apart: Bytes::new() })
    }

    fn converter(&self) -> &dyn Converter {
        &*self.context.deps.converter
    }

    /// Whether objects are stored in another version than that of the row.
    pub(crate) fn converts(&self) -> bool {
        self.converter().concerns(&self.row)
    }

    /// An entry's JSON in the version of the row.
    pub(crate) async fn served(&self, entry: &Entry) -> Result<Bytes, Error> {
        self.served_bytes(&entry.json.whole()).await
    }

    /// The same without managed fields: shared bytes where the version is the stored one, else with them after all.
    pub(crate) async fn served_lean(&self, entry: &Entry) -> Result<Bytes, Error> {
        if self.converts() { self.served(entry).await } else { Ok(entry.json.lean()) }
    }

    /// The JSON of many entries in the version of the row, converted together; `None` where that is the stored
    /// version and the entries' own bytes are to be used.
    pub(crate) async fn converted(&self, entries: &[Arc<Entry>]) -> Result<Option<Vec<Bytes>>, Error> {
        if !self.converts() {
            return Ok(None);
        }
        let read =
            entries.iter().map(|entry| serde_json::from_slice(&entry.json.whole()).map_err(Error::internal));
        let mut objects: Vec<Object> = read.collect::<Result<_, _>>()?;
        self.converter().to_served(&self.row, &mut objects).await?;
        objects.iter().map(|object| to_json(&self.row.schema, object)).collect::<Result<_, _>>().map(Some)
    }

    async fn served_bytes(&self, json: &Bytes) -> Result<Bytes, Error> {
        if !self.converts() {
            return Ok(json.clone());
        }
        let mut object: Object = serde_json::from_slice(json).map_err(Error::internal)?;
        self.converter().to_served(&self.row, std::slice::from_mut(&mut object)).await?;
        to_json(&self.row.schema, &object)
    }

    /// What is stored of an object: in the storage version, without a resource version, which is taken from the object,
    /// and with the managed fields that it was read without.
    async fn encode(&self, object: &mut Object, apart: &Bytes) -> Result<Bytes, Error> {
        object.metadata_mut().remove("resourceVersion");
        if !self.converts() {
            let json = to_json(&self.row.schema, object)?;
            if apart.is_empty() {
                return Ok(json);
            }
            let whole = with_managed_fields(&json, apart);
            return whole.ok_or_else(|| Error::internal("an object has no metadata"));
        }
        let mut stored = object.clone();
        self.converter().to_stored(&self.row, &mut stored).await?;
        to_json(&self.row.stored_schema, &stored)
    }

    /// Writes an object, whose resource version is taken from it, and returns its JSON as served. What is held for the
    /// write is confirmed with the commit, and still held after a conflict.
    pub(crate) async fn commit(
        &self,
        object: &mut Object,
        expect: Expect,
        held: &mut Reservations,
    ) -> Result<Bytes, CommitError> {
        self.commit_with(object, &Bytes::new(), expect, held).await
    }

    /// As [`Target::commit`], of an object that was read without its managed fields.
    pub(crate) async fn commit_with(
        &self,
        object: &mut Object,
        apart: &Bytes,
        expect: Expect,
        held: &mut Reservations,
    ) -> Result<Bytes, CommitError> {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        let key = self.row.key(&namespace, &name);
        let base = match expect {
            Expect::Revision(revision) => Some(revision),
            Expect::Absent | Expect::Anything => None,
        };
        let attempt = (!held.is_empty()).then(|| attempt(object, base, Committed::Written));
        let value = self.encode(object, apart).await.map_err(CommitError::Failed)?;
        let operation = if expect == Expect::Absent { "create" } else { "update" };
        let (store, ttl_s) = (&self.context.deps.store, self.row.ttl_s);
        let put = async {
            let Some(attempt) = attempt else { return store.put(&key, value, expect, ttl_s).await };
            let (store, key) = (Arc::clone(store), key.clone());
            let put = async move { store.put(&key, value, expect, ttl_s).await };
            self.settle(held, attempt, put).await
        };
        let put = self.calls().timed(operation, &self.group_resource(), put).await;
        let written = put.map_err(|error| self.commit_error(error, operation))?;
        let revision = written.mod_revision;
        self.wait(revision).await.map_err(CommitError::Failed)?;
        let json = match self.cache.get(&namespace, &name) {
            Some(entry) if entry.revision == revision => entry.json.whole(),
            // Somebody has written again already; the answer is still this write.
            _ => with_resource_version(&written.value, revision)
                .ok_or_else(|| CommitError::Failed(Error::internal("a written value is no JSON object")))?,
        };
        self.served_bytes(&json).await.map_err(CommitError::Failed)
    }

    /// Whether a write that changes nothing is to be made all the same.
    pub(crate) async fn is_outdated(&self, object: &Object) -> Result<bool, Error> {
        let key = self.row.key(object.namespace(), object.name());
        let outdated = self.context.deps.store.is_outdated(&key).await;
        outdated.map_err(|error| store_error(&error, &self.group_resource(), "update"))
    }

    fn calls(&self) -> &StoreCalls {
        self.context.deps.cache.store_calls()
    }

    /// Deletes the object, if it still is as given, and returns the revision of the deletion. What is held is treated
    /// as by [`Target::commit`].
    pub(crate) async fn remove(
        &self,
        stored: &Stored,
        held: &mut Reservations,
    ) -> Result<Revision, CommitError> {
        let Stored { object, revision, .. } = stored;
        let key = self.row.key(object.namespace(), object.name());
        let (store, expect) = (&self.context.deps.store, Expect::Revision(*revision));
        let delete = async {
            if held.is_empty() {
                return store.delete(&key, expect, Previous::Unwanted).await;
            }
            let attempt = attempt(object, Some(*revision), Committed::Removed);
            let (store, key) = (Arc::clone(store), key.clone());
            let delete = async move { store.delete(&key, expect, Previous::Unwanted).await };
            self.settle(held, attempt, delete).await
        };
        let deleted = self.calls().timed("delete", &self.group_resource(), delete).await;
        let deleted = deleted.map_err(|error| self.commit_error(error, "delete"))?;
        self.wait(deleted.revision).await.map_err(CommitError::Failed)?;
        Ok(deleted.revision)
    }

    /// Commits and confirms in a task of its own: a request that is given up cannot take back a commit that has
    /// begun, so that only the commit's end says whether what is held is used.
    async fn settle<T: Send + 'static>(
        &self,
        held: &mut Reservations,
        attempt: Attempt,
        commit: impl Future<Output = Result<T, store::Error>> + Send + 'static,
    ) -> Result<T, store::Error> {
        let committing = std::mem::take(held).committing(attempt);
        let (reply, answer) = oneshot::channel();
        self.context.deps.supervisor.spawn(TaskKind::Background, "reserved-commit", async move {
            let result = commit.await;
            let left = committing.end(&result);
            // When the request was given up, what is left is dropped here and so released.
            let _given_up = reply.send((result, left));
        });
        let Ok((result, left)) = answer.await else {
            return Err(store::Error::Io("the commit was broken off".into()));
        };
        *held = left;
        result
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

fn attempt(object: &Object, base: Option<Revision>, committed: Committed) -> Attempt {
    let [namespace, name, uid] = [object.namespace(), object.name(), object.uid()].map(str::to_owned);
    Attempt { namespace, name, uid, base, committed }
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

/// An object as a client reads it, its fields in upstream's order.
pub(crate) fn to_json(schema: &Schema, object: &Object) -> Result<Bytes, Error> {
    let laid = Typed::new(&object.0, schema.types(), schema.id());
    serde_json::to_vec(&laid).map(Into::into).map_err(Error::internal)
}
