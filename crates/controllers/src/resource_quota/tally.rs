//! [`Tallies`]: what the objects of namespaces with quotas use, by resource. A kind is followed from when a quota first
//! names it, from the cache that the garbage collector has of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{GroupResource, Object};
use informer::cache::Objects;
use informer::{Cache, Informers, Key, Queue};
use k8s_openapi::api::core::v1::ResourceQuota;
use resources::quota::{Amounts, Ledger, Quota};
use resources::{Resource, ResourceSource};

use crate::collection::{collection, is_followed};

/// The tallies of all resources that quotas name.
pub(super) struct Tallies {
    informers: Informers,
    kinds: Arc<dyn ResourceSource>,
    queue: Queue<Key>,
    quotas: Cache<ResourceQuota>,
    by_resource: Mutex<HashMap<GroupResource, Arc<Tally>>>,
}

impl Tallies {
    pub fn new(
        informers: Informers,
        kinds: Arc<dyn ResourceSource>,
        queue: Queue<Key>,
        quotas: Cache<ResourceQuota>,
    ) -> Self {
        Self { informers, kinds, queue, quotas, by_resource: Mutex::default() }
    }

    /// The tally of a resource, complete; `None` where the resource is not served or its objects cannot be counted.
    pub async fn of(&self, resource: &GroupResource) -> Option<Arc<Tally>> {
        let row = self.kinds.table().rows().find(|row| row.group_resource() == *resource).cloned();
        let Some(row) = row.filter(|row| row.namespaced()) else {
            self.lock().remove(resource);
            return None;
        };
        let tally = self.follow(resource, &row)?;
        if row.elsewhere && !tally.objects.is_synced() {
            // Another server may not answer; once it does, its objects wake the quotas.
            return None;
        }
        tally.objects.wait_synced().await;
        Some(tally)
    }

    /// Counts nothing in the namespace any more.
    pub fn forget(&self, namespace: &str) {
        for tally in self.lock().values() {
            tally.spaces().remove(namespace);
        }
    }

    /// The tally of a resource. A kind that went and came back is counted anew, from a cache of its own.
    fn follow(&self, resource: &GroupResource, row: &Resource) -> Option<Arc<Tally>> {
        if !is_followed(row) {
            return None;
        }
        let objects = match row.elsewhere {
            true => self.informers.objects_elsewhere(&collection(row)),
            false => self.informers.objects(&collection(row)),
        };
        let current = |known: &Tally| known.objects.is(&objects);
        if let Some(known) = self.lock().get(resource).filter(|known| current(known)) {
            return Some(Arc::clone(known));
        }
        let tally = Arc::new(Tally {
            resource: resource.clone(),
            objects: objects.clone(),
            spaces: Mutex::default(),
        });
        let mut known = self.lock();
        // Another worker may have been faster.
        if let Some(first) = known.get(resource).filter(|known| current(known)) {
            return Some(Arc::clone(first));
        }
        known.insert(resource.clone(), Arc::clone(&tally));
        drop(known);
        let (noting, quotas, queue) = (Arc::clone(&tally), self.quotas.clone(), self.queue.clone());
        tally.objects.subscribe(move |change| {
            let key = &change.item.meta().key;
            if noting.note(key) {
                quotas.named_like(&key.namespace, "").iter().for_each(|quota| queue.add(quota.key.clone()));
            }
        });
        Some(tally)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GroupResource, Arc<Tally>>> {
        self.by_resource.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the objects of one resource use, by namespace.
pub(super) struct Tally {
    resource: GroupResource,
    objects: Objects,
    /// Those that somebody has asked about.
    spaces: Mutex<HashMap<String, Space>>,
}

struct Space {
    ledger: Ledger,
    /// Names of objects that have changed since they were counted.
    changed: HashSet<String>,
}

impl Tally {
    /// What is used of a quota in a namespace, and when that changes by itself.
    pub fn used(
        &self,
        namespace: &str,
        quota: &Quota,
        now: jiff::Timestamp,
    ) -> (Amounts, Option<jiff::Timestamp>) {
        let mut spaces = self.spaces();
        let space = spaces.entry(namespace.to_owned()).or_insert_with(|| {
            let present = self.objects.in_namespace(namespace);
            Space {
                ledger: Ledger::new(self.resource.clone()),
                changed: present.iter().map(|item| item.meta().key.name.to_string()).collect(),
            }
        });
        for name in std::mem::take(&mut space.changed) {
            let item = self.objects.get(&Key::new(namespace, &name));
            match item.map(|item| serde_json::from_slice::<Object>(item.json())) {
                Some(Ok(object)) => space.ledger.put(&object),
                Some(Err(error)) => {
                    tracing::error!(%error, namespace, name, "an object cannot be read and counts as gone");
                    space.ledger.remove(&name);
                }
                None => space.ledger.remove(&name),
            }
        }
        space.ledger.expire(now);
        (space.ledger.used(quota), space.ledger.next_expiry())
    }

    /// Notes that an object has changed; whether somebody counts its namespace.
    fn note(&self, key: &Key) -> bool {
        let mut spaces = self.spaces();
        let Some(space) = spaces.get_mut(&*key.namespace) else { return false };
        space.changed.insert(key.name.to_string());
        true
    }

    fn spaces(&self) -> MutexGuard<'_, HashMap<String, Space>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
