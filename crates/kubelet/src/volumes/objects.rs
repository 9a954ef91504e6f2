//! The ConfigMaps and Secrets that this node's pods refer to: one watch per object in use, none for
//! other objects, and no polling.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::backoff::Policy;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How long the first answer may take.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
const WATCH_TIMEOUT_S: u32 = 290;
const RETRY: Policy = Policy::new(Duration::from_millis(20), Duration::from_secs(30));
/// Failures in a row before users hear of them. The first may be the API's: it has to learn that the pod
/// is bound here before it lets this node read what the pod refers to.
const PATIENT_FAILURES: u32 = 4;

/// A kind that pods refer to by name.
pub trait Referenced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// It never changes again: no watch is needed.
    fn is_immutable(&self) -> bool;
}

impl Referenced for ConfigMap {
    fn is_immutable(&self) -> bool {
        self.immutable == Some(true)
    }
}

impl Referenced for Secret {
    fn is_immutable(&self) -> bool {
        self.immutable == Some(true)
    }
}

/// The state of one object.
#[derive(Debug, Clone)]
enum State<K> {
    Unknown,
    Absent,
    Present(Arc<K>),
    Failed(String),
}

struct Entry<K> {
    /// Uids of the pods that refer to the object.
    users: HashSet<String>,
    state: watch::Sender<State<K>>,
    task: AbortHandle,
}

type Key = (String, String);
/// Told about namespace and users of an object that changed. Must return at once.
pub type OnChange = Arc<dyn Fn(&HashSet<String>) + Send + Sync>;

struct Inner<K> {
    client: Client,
    entries: Mutex<HashMap<Key, Entry<K>>>,
    tasks: Mutex<JoinSet<()>>,
    on_change: OnChange,
}

/// The watched objects of one kind. Cheap to clone.
pub struct Objects<K>(Arc<Inner<K>>);

impl<K> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Referenced> Objects<K> {
    pub fn new(client: Client, on_change: OnChange) -> Self {
        let (entries, tasks) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { client, entries, tasks, on_change }))
    }

    /// The object, for the pod `uid`, which is told about its changes until [`Objects::release`].
    /// `None` when there is no such object.
    ///
    /// # Errors
    /// When the API cannot say, with its words.
    pub async fn get(&self, uid: &str, namespace: &str, name: &str) -> Result<Option<Arc<K>>, String> {
        let mut state = self.subscribe(uid, namespace, name);
        let known = state.wait_for(|s| !matches!(s, State::Unknown));
        match tokio::time::timeout(FIRST_ANSWER, known).await {
            Ok(Ok(state)) => match &*state {
                State::Present(object) => Ok(Some(object.clone())),
                State::Failed(why) => Err(why.clone()),
                State::Absent | State::Unknown => Ok(None),
            },
            Ok(Err(_)) => Err("the node agent is stopping".to_owned()),
            Err(_) => Err("timed out waiting for the condition".to_owned()),
        }
    }

    fn subscribe(&self, uid: &str, namespace: &str, name: &str) -> watch::Receiver<State<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut entries = lock(&self.0.entries);
        let entry = entries.entry(key.clone()).or_insert_with(|| {
            let state = watch::Sender::new(State::Unknown);
            let follower = Follower { inner: Arc::downgrade(&self.0), key, state: state.clone() };
            let mut tasks = lock(&self.0.tasks);
            while tasks.try_join_next().is_some() {}
            Entry { users: HashSet::new(), state, task: tasks.spawn(follower.run(self.0.client.clone())) }
        });
        entry.users.insert(uid.to_owned());
        entry.state.subscribe()
    }

    /// The pod needs nothing any more: objects that only it used are no longer watched.
    pub fn release(&self, uid: &str) {
        lock(&self.0.entries).retain(|_, entry| {
            entry.users.remove(uid);
            if entry.users.is_empty() {
                entry.task.abort();
            }
            !entry.users.is_empty()
        });
    }

    /// Waits until a followed object is there.
    #[cfg(test)]
    pub async fn wait_present(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut state = lock(&self.0.entries)[&key].state.subscribe();
        state.wait_for(|s| matches!(s, State::Present(_))).await.expect("followed");
    }

    /// How many objects are followed.
    pub fn len(&self) -> usize {
        lock(&self.0.entries).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Follows one object: list, watch from there, list again when the history needed is gone.
struct Follower<K> {
    /// Weak: the tasks belong to what they point to.
    inner: std::sync::Weak<Inner<K>>,
    key: Key,
    state: watch::Sender<State<K>>,
}

enum Next {
    Watch(String),
    List,
    Done,
}

impl<K: Referenced> Follower<K> {
    async fn run(self, client: Client) {
        let api: Api<K> = Api::namespaced(client, &self.key.0);
        let selector = format!("metadata.name={}", self.key.1);
        let mut next = Next::List;
        let mut failures = 0;
        loop {
            let result = match &next {
                Next::List => self.list(&api, &selector).await,
                Next::Watch(version) => self.watch(&api, &selector, version).await,
                Next::Done => return,
            };
            match result {
                Ok(then) => (next, failures) = (then, 0),
                Err(why) => {
                    failures += 1;
                    let unknown = matches!(&*self.state.borrow(), State::Unknown | State::Failed(_));
                    if unknown && failures >= PATIENT_FAILURES {
                        self.state.send_replace(State::Failed(why));
                    }
                    next = Next::List;
                    tokio::time::sleep(RETRY.delay(failures)).await;
                }
            }
        }
    }

    async fn list(&self, api: &Api<K>, selector: &str) -> Result<Next, String> {
        let list = api
            .list(&ListParams::default().fields(selector))
            .await
            .map_err(|error| client::message(&error))?;
        let version = list.metadata.resource_version.clone().unwrap_or_default();
        match list.items.into_iter().next() {
            Some(object) => {
                if self.seen(State::Present(Arc::new(object))) {
                    return Ok(Next::Done);
                }
            }
            None => {
                self.seen(State::Absent);
            }
        }
        Ok(Next::Watch(version))
    }

    async fn watch(&self, api: &Api<K>, selector: &str, version: &str) -> Result<Next, String> {
        let params = WatchParams::default().fields(selector).timeout(WATCH_TIMEOUT_S);
        let mut version = version.to_owned();
        let stream = match api.watch(&params, &version).await {
            Ok(stream) => stream,
            Err(error) if client::is_expired(&error) => return Ok(Next::List),
            Err(error) => return Err(error.to_string()),
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event.map_err(|error| client::message(&error))? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.meta().resource_version.clone().unwrap_or(version);
                    if self.seen(State::Present(Arc::new(object))) {
                        return Ok(Next::Done);
                    }
                }
                WatchEvent::Deleted(object) => {
                    version = object.meta().resource_version.clone().unwrap_or(version);
                    self.seen(State::Absent);
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(Next::List),
                WatchEvent::Error(status) => return Err(status.message),
            }
        }
        Ok(Next::Watch(version))
    }

    /// Publishes a state and tells the users if it is another than before. Returns whether the
    /// object can never change again.
    fn seen(&self, new: State<K>) -> bool {
        let version = |s: &State<K>| match s {
            State::Present(o) => Some((o.meta().uid.clone(), o.meta().resource_version.clone())),
            _ => None,
        };
        let (first, same) = {
            let old = self.state.borrow();
            (matches!(*old, State::Unknown), version(&old) == version(&new))
        };
        let immutable = matches!(&new, State::Present(o) if o.is_immutable());
        self.state.send_replace(new);
        if !first
            && !same
            && let Some(inner) = self.inner.upgrade()
        {
            let users = lock(&inner.entries).get(&self.key).map(|e| e.users.clone()).unwrap_or_default();
            (inner.on_change)(&users);
        }
        immutable
    }
}
