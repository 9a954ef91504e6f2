//! [`Addresses`]: who has which cluster address, kept as IPAddress objects.
//!
//! An address is taken by creating the object of its name, which the store does for one of any number of writers: also
//! two servers on one store never give out an address twice. What is left behind by a server that was killed between
//! the object and the Service is cleared away by the repairing controller, as upstream's `ipallocator` leaves it to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::managed::{self, Writer};
use api::{GroupResource, Object};
use base::{Clock, Supervisor, TaskKind};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use resources::Resource;
use serde_json::json;
use store::{Expect, KeyValue, Previous, Revision};
use tokio::sync::oneshot;

use super::ranges::{Family, Range};
use crate::cache::Cache;

/// Upstream's names (`k8s.io/api/networking/v1/well_known_labels.go`).
const LABEL_FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const LABEL_MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGED_BY: &str = "ipallocator.k8s.io";
/// Whom the objects' fields belong to: upstream's API server writes to itself under this name.
const MANAGER: &str = "kube-apiserver";
/// How often an object that others change meanwhile is looked at again before it is deleted.
const ATTEMPTS: usize = 8;

/// Why an address cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("provided IP is already allocated")]
    Taken,
    #[error("range is full")]
    Full,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A Service by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub namespace: String,
    pub name: String,
}

impl Parent {
    pub fn of(service: &Object) -> Self {
        Self { namespace: service.namespace().to_owned(), name: service.name().to_owned() }
    }

    /// Whether an IPAddress object is this Service's.
    fn owns(&self, object: &Object) -> bool {
        let part = |key| object.str_at(&["spec", "parentRef", key]).unwrap_or_default();
        part("group").is_empty()
            && part("resource") == "services"
            && part("namespace") == self.namespace
            && part("name") == self.name
    }
}

/// An address taken for a Service that is not stored yet: dropped, it is given back.
#[must_use = "an address that is dropped is given back"]
pub(super) struct Grant {
    pub address: IpAddr,
    revision: Revision,
    giver: Option<Arc<Addresses>>,
}

impl Grant {
    /// The address stays taken.
    pub fn keep(mut self) {
        self.giver = None;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(giver) = self.giver.take() {
            giver.give_back(self.address, self.revision);
        }
    }
}

/// The end of a deletion.
type Leaving = Shared<BoxFuture<'static, ()>>;

/// See the module's documentation.
pub(super) struct Addresses {
    cache: Cache,
    clock: Arc<dyn Clock>,
    supervisor: Supervisor,
    row: Arc<Resource>,
    /// The addresses that are being given back: whoever asks for one of them waits.
    leaving: Mutex<HashMap<IpAddr, Leaving>>,
}

impl Addresses {
    pub fn new(cache: Cache, clock: Arc<dyn Clock>, supervisor: Supervisor) -> Arc<Self> {
        let table = resources::builtin();
        let row = table.find("networking.k8s.io", "v1", "ipaddresses").expect("a built-in kind");
        let row = Arc::clone(row);
        Arc::new(Self { cache, clock, supervisor, row, leaving: Mutex::default() })
    }

    /// Takes any address of the range.
    pub async fn take_any(self: &Arc<Self>, range: &Range, parent: &Parent) -> Result<Grant, Refusal> {
        for address in range.candidates(base::random::below) {
            if self.is_taken(address) {
                continue;
            }
            match self.create(address, parent).await {
                Err(Refusal::Taken) => {}
                other => return other,
            }
        }
        Err(Refusal::Full)
    }

    /// Takes this address.
    pub async fn take(self: &Arc<Self>, address: IpAddr, parent: &Parent) -> Result<Grant, Refusal> {
        let leaving = self.leaving().get(&address).cloned();
        if let Some(leaving) = leaving {
            leaving.await;
        }
        self.create(address, parent).await
    }

    fn is_taken(&self, address: IpAddr) -> bool {
        let cache = self.cache.resource(&self.row.storage_prefix);
        cache.is_some_and(|cache| cache.get("", &address.to_string()).is_some())
    }

    /// Creates the object in a task of its own: of a request that is given up meanwhile, the address is given back.
    async fn create(self: &Arc<Self>, address: IpAddr, parent: &Parent) -> Result<Grant, Refusal> {
        let (reply, answer) = oneshot::channel();
        let (this, object) = (Arc::clone(self), self.object(address, parent));
        self.supervisor.spawn(TaskKind::Background, "address-claim", async move {
            // Of nobody who waits, what is sent back is dropped.
            let _given_up = reply.send(this.create_now(address, &object).await);
        });
        let broken_off = |_| store::Error::Io("the claim of an address was broken off".into());
        answer.await.map_err(broken_off)?
    }

    async fn create_now(self: &Arc<Self>, address: IpAddr, object: &Object) -> Result<Grant, Refusal> {
        let value = serde_json::to_vec(object).map_err(|error| store::Error::Io(error.to_string().into()))?;
        let key = self.key(address);
        let put = self.cache.store().put(&key, value.into(), Expect::Absent, self.row.ttl_s);
        match self.cache.store_calls().timed("create", &self.resource(), put).await {
            Ok(KeyValue { mod_revision: revision, .. }) => {
                Ok(Grant { address, revision, giver: Some(Arc::clone(self)) })
            }
            Err(store::Error::Conflict { .. }) => Err(Refusal::Taken),
            Err(error) => Err(error.into()),
        }
    }

    fn object(&self, address: IpAddr, parent: &Parent) -> Object {
        let now = self.clock.now();
        let api_version = self.row.group_version().to_string();
        let mut object = Object::new(&api_version, &self.row.kind);
        let labels = json!({LABEL_FAMILY: Family::of(address).as_str(), LABEL_MANAGED_BY: MANAGED_BY});
        object.set_at(&["metadata", "labels"], labels);
        let Parent { namespace, name } = parent;
        let reference = json!({"resource": "services", "namespace": namespace, "name": name});
        object.set_at(&["spec", "parentRef"], reference);
        object.set_meta_str("name", address.to_string());
        object.set_meta_str("uid", base::random::uuid());
        object.set_meta_str("creationTimestamp", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let schema = &self.row.schema;
        let writer = Writer { manager: MANAGER, api_version: &api_version, subresource: "", now };
        managed::update(schema.types(), schema.id(), None, &mut object, &writer);
        object
    }

    fn key(&self, address: IpAddr) -> String {
        self.row.key("", &address.to_string())
    }

    fn resource(&self) -> GroupResource {
        self.row.group_resource()
    }

    /// Gives back what was taken for a Service that was not stored after all.
    fn give_back(self: &Arc<Self>, address: IpAddr, revision: Revision) {
        let this = Arc::clone(self);
        self.leave(address, async move {
            if let Err(error) = this.delete(address, revision).await {
                tracing::warn!(%address, %error, "an address stays taken until it is repaired");
            }
        });
    }

    /// Gives back an address that a Service had, if the object says so too.
    pub fn free(self: &Arc<Self>, address: IpAddr, parent: Parent) {
        let this = Arc::clone(self);
        self.leave(address, async move {
            if let Err(error) = this.free_now(address, &parent).await {
                tracing::warn!(%address, %error, "an address stays taken until it is repaired");
            }
        });
    }

    /// Does the work in a task, and notes until then that the address is leaving.
    fn leave(self: &Arc<Self>, address: IpAddr, work: impl Future<Output = ()> + Send + 'static) {
        let this = Arc::clone(self);
        let work = work.boxed().shared();
        self.leaving().insert(address, work.clone());
        self.supervisor.spawn(TaskKind::Background, "address-release", async move {
            work.clone().await;
            let mut leaving = this.leaving();
            if leaving.get(&address).is_some_and(|other| other.ptr_eq(&work)) {
                leaving.remove(&address);
            }
        });
    }

    fn leaving(&self) -> MutexGuard<'_, HashMap<IpAddr, Leaving>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn free_now(&self, address: IpAddr, parent: &Parent) -> Result<(), store::Error> {
        let key = self.key(address);
        for _ in 0..ATTEMPTS {
            let (Some(found), _) = self.cache.store().get(&key).await? else { return Ok(()) };
            let object: Option<Object> = serde_json::from_slice(&found.value).ok();
            if !object.is_some_and(|object| parent.owns(&object)) {
                return Ok(());
            }
            match self.delete(address, found.mod_revision).await {
                Err(store::Error::Conflict { .. }) => {}
                other => return other,
            }
        }
        Ok(())
    }

    /// Deletes the object, and waits until readers see that.
    async fn delete(&self, address: IpAddr, revision: Revision) -> Result<(), store::Error> {
        let key = self.key(address);
        let delete = self.cache.store().delete(&key, Expect::Revision(revision), Previous::Unwanted);
        let deleted = self.cache.store_calls().timed("delete", &self.resource(), delete).await?;
        // A cache that has ended shows nothing to anybody.
        let _ended = self.cache.echo(deleted.revision).await;
        Ok(())
    }
}
