//! [`Cache`]: the objects of one kind, as last seen on the watch.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::watch;

use crate::{Key, Kind};

/// A change of a cached object, as handlers see it. Handlers run in the watch's task: they enqueue, no more.
#[derive(Debug, Clone)]
pub enum Delta<K> {
    Applied { new: Arc<K>, old: Option<Arc<K>> },
    Deleted(Arc<K>),
}

impl<K> Delta<K> {
    /// The newest known state of the object.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Applied { new, .. } | Self::Deleted(new) => new,
        }
    }
}

type Handler<K> = Box<dyn Fn(&Delta<K>) + Send + Sync>;

struct Inner<K> {
    objects: RwLock<BTreeMap<Key, Arc<K>>>,
    handlers: RwLock<Vec<Handler<K>>>,
    /// Raised after every change; its value is the number of changes so far, 0 before the first list.
    changes: watch::Sender<u64>,
    /// The newest resource version among what was put in or taken out.
    newest: AtomicU64,
    synced: watch::Sender<bool>,
}

/// A cache kept up to date by a watch. Cheap to clone; reads never wait for the network.
pub struct Cache<K>(Arc<Inner<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Kind> Default for Cache<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Kind> Cache<K> {
    /// An empty cache that nothing feeds: the reflector's, and a test's, start.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            objects: RwLock::default(),
            handlers: RwLock::default(),
            changes: watch::channel(0).0,
            newest: AtomicU64::new(0),
            synced: watch::channel(false).0,
        }))
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&Key::new(namespace, name))
    }

    pub fn get_key(&self, key: &Key) -> Option<Arc<K>> {
        self.0.objects.read().unwrap_or_else(|e| e.into_inner()).get(key).cloned()
    }

    /// All objects, or those of one namespace, in key order.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<K>> {
        self.select(namespace, |_| true)
    }

    /// The objects (of one namespace, or of all) that `wanted` holds for, in key order.
    pub fn select(&self, namespace: Option<&str>, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let objects = self.0.objects.read().unwrap_or_else(|e| e.into_inner());
        let first = Key::new(namespace.unwrap_or(""), "");
        objects
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(|(key, _)| namespace.is_none_or(|ns| &*key.namespace == ns))
            .filter(|(_, object)| wanted(object))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Whether `wanted` holds for any object.
    pub fn any(&self, wanted: impl Fn(&K) -> bool) -> bool {
        let objects = self.0.objects.read().unwrap_or_else(|e| e.into_inner());
        objects.values().any(|object| wanted(object))
    }

    pub fn len(&self) -> usize {
        self.0.objects.read().unwrap_or_else(|e| e.into_inner()).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `handler` for every object there is, and then for every change.
    pub fn subscribe(&self, handler: impl Fn(&Delta<K>) + Send + Sync + 'static) {
        // The handler list is held while present objects are replayed, so that no change slips
        // between the replay and the subscription.
        let mut handlers = self.0.handlers.write().unwrap_or_else(|e| e.into_inner());
        for object in self.list(None) {
            handler(&Delta::Applied { new: object, old: None });
        }
        handlers.push(Box::new(handler));
    }

    /// Waits for the first complete list. Cancellation safe.
    pub async fn wait_synced(&self) {
        let mut synced = self.0.synced.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// Waits until `condition` holds, looking again after every change. Cancellation safe.
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.0.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if condition(self) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Puts an object in. For the reflector and for tests.
    pub fn apply(&self, object: K) {
        let key = Key::of(&object);
        let new = Arc::new(object);
        let handlers = self.0.handlers.read().unwrap_or_else(|e| e.into_inner());
        let old = self.0.objects.write().unwrap_or_else(|e| e.into_inner()).insert(key, new.clone());
        self.0.newest.fetch_max(version_of(&*new), Ordering::Release);
        if let Some(old) = &old
            && old.meta().resource_version == new.meta().resource_version
            && new.meta().resource_version.is_some()
        {
            return;
        }
        // An object deleted and made again between two lists is two objects.
        let old = match old {
            Some(old) if old.meta().uid != new.meta().uid => {
                notify(&handlers, &Delta::Deleted(old));
                None
            }
            other => other,
        };
        notify(&handlers, &Delta::Applied { new, old });
        drop(handlers);
        self.0.changes.send_modify(|n| *n += 1);
    }

    /// Takes an object out. For the reflector and for tests.
    pub fn remove(&self, key: &Key) {
        let handlers = self.0.handlers.read().unwrap_or_else(|e| e.into_inner());
        let old = self.0.objects.write().unwrap_or_else(|e| e.into_inner()).remove(key);
        if let Some(old) = old {
            notify(&handlers, &Delta::Deleted(old));
            drop(handlers);
            self.0.changes.send_modify(|n| *n += 1);
        }
    }

    /// Takes an object out as the watch told it, `last` being its state with the version of its deletion.
    pub fn deleted(&self, last: &K) {
        self.remove(&Key::of(last));
        self.0.newest.fetch_max(version_of(last), Ordering::Release);
        self.0.changes.send_modify(|n| *n += 1);
    }

    /// Whether a change of this resource version has been seen, be the object still there or not: changes come in
    /// the order of their versions.
    pub fn has_reached(&self, version: u64) -> bool {
        self.0.newest.load(Ordering::Acquire) >= version
    }

    /// Replaces everything by a complete list and marks the cache as synced. For the reflector and for tests.
    pub fn replace(&self, objects: Vec<K>) {
        let present: std::collections::BTreeSet<Key> = objects.iter().map(Key::of).collect();
        let gone: Vec<Key> = {
            let held = self.0.objects.read().unwrap_or_else(|e| e.into_inner());
            held.keys().filter(|key| !present.contains(*key)).cloned().collect()
        };
        for key in &gone {
            self.remove(key);
        }
        for object in objects {
            self.apply(object);
        }
        self.0.synced.send_replace(true);
        self.0.changes.send_modify(|n| *n += 1);
    }
}

/// The object's resource version as a number, 0 where it has none.
pub(crate) fn version_of<K: Kind>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn notify<K>(handlers: &[Handler<K>], delta: &Delta<K>) {
    for handler in handlers {
        handler(delta);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::*;

    fn map(name: &str, uid: &str, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("ns".into()),
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    #[tokio::test]
    async fn a_relist_tells_what_came_what_changed_and_what_went() {
        let cache = Cache::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        cache.apply(map("a", "1", "1"));
        cache.subscribe(move |delta: &Delta<ConfigMap>| {
            let text = match delta {
                Delta::Applied { new, old } => {
                    format!("{} {}", if old.is_some() { "~" } else { "+" }, Key::of(&**new))
                }
                Delta::Deleted(old) => format!("- {}", Key::of(&**old)),
            };
            log.lock().expect("no panic in a handler").push(text);
        });
        cache.replace(vec![map("b", "2", "2"), map("c", "3", "3")]);
        cache.replace(vec![map("b", "2", "4"), map("c", "9", "5")]);
        cache.wait_synced().await;
        let seen = seen.lock().expect("no panic in a handler").clone();
        assert_eq!(seen, ["+ ns/a", "- ns/a", "+ ns/b", "+ ns/c", "~ ns/b", "- ns/c", "+ ns/c"]);
        assert_eq!(cache.list(Some("ns")).len(), 2);
        assert_eq!(cache.list(Some("n")).len(), 0);
    }
}
