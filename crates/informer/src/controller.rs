//! [`Controller`] and the loop that runs it.
//!
//! A round: take a key, `observe`, `reconcile` (pure) to a [`Plan`], carry the plan out, and wait until
//! the caches have seen what was written, so that the next round does not act on old state.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Clock, Supervisor, TaskKind};
use client::Recorder;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use tracing::Instrument;

use crate::executor::{Effect, Executor, Failure, Outcome};
use crate::plan::Plan;
use crate::{Cache, Complaints, Delta, Informers, Key, Kind, Metrics, Queue, Scope};

/// How long a round waits for its own writes to come back on the watch. Only a broken watch takes longer,
/// and then acting again is right.
const ECHO_PATIENCE: Duration = Duration::from_secs(10);

/// All controllers are one field manager, as upstream's are.
pub const FIELD_MANAGER: &str = "kube-controller-manager";

/// One control loop. [`Controller::sources`] declares which kinds the controller reads; the pure
/// [`Controller::reconcile`] decides what it does.
pub trait Controller: Send + Sync + Sized + 'static {
    /// Upstream's name of the controller (`replicaset-controller`): its name in the log.
    const NAME: &'static str;
    /// The service account in whose name it reads and writes.
    const ACCOUNT: &'static str = Self::NAME;
    /// The source of the controller's events.
    const EVENT_SOURCE: &'static str = Self::NAME;
    /// Its work queue's name among the metrics: upstream's, where upstream has the queue.
    const QUEUE: &'static str = Self::NAME;
    /// How many keys are worked on at once.
    const WORKERS: usize = 4;
    /// What the cluster's operator may set; `()` for most.
    type Config;
    /// Everything a decision depends on.
    type Observed: Send + Sync;

    /// Gets the controller's caches and declares which changes wake which keys.
    fn sources(sources: &mut Sources<'_>, config: Self::Config) -> Self;

    /// Reads the caches and, where old state would do harm, the API itself. `None` when the key's object
    /// is gone or nothing is to be decided about it.
    ///
    /// # Errors
    /// When the API could not be read; the key comes again after a back-off.
    fn observe(
        &self,
        round: &Round<'_>,
    ) -> impl Future<Output = Result<Option<Self::Observed>, kube::Error>> + Send;

    /// Decides. No client, no clock but `now`, no randomness but what is in the observation.
    fn reconcile(observed: &Self::Observed, now: jiff::Timestamp) -> Plan;

    /// What counts the round once it has ended, of controllers that have figures of their own. Nothing is decided where
    /// the key's object is gone.
    fn tally(&self, _: &Key, _: Option<(&Self::Observed, &Plan)>) -> Option<Tally> {
        None
    }
}

/// Counts a round; called with whether the round's plan was carried out.
pub type Tally = Box<dyn FnOnce(bool) + Send>;

/// The inputs of an observation.
#[derive(Clone, Copy)]
pub struct Round<'a> {
    pub key: &'a Key,
    /// For live reads. All writes belong in the plan.
    pub client: &'a Client,
    /// When the round began.
    pub now: jiff::Timestamp,
    /// The failure of this key's last plan; `None` if the plan succeeded.
    pub failure: Option<&'a Failure>,
}

type EchoCheck = Box<dyn for<'a> Fn(&'a Effect) -> Option<BoxFuture<'a, ()>> + Send + Sync>;
type Synced = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Where a controller declares what it reads.
pub struct Sources<'a> {
    informers: &'a Informers,
    queue: Queue<Key>,
    echoes: Vec<EchoCheck>,
    synced: Vec<Synced>,
    /// Kinds read, for the printed graph.
    reads: Vec<String>,
}

impl Sources<'_> {
    /// The queue itself, for a mapping that needs more than one key or a delay.
    pub fn queue(&self) -> Queue<Key> {
        self.queue.clone()
    }

    /// The caches of this process, for kinds that are known only while running.
    pub fn informers(&self) -> &Informers {
        self.informers
    }

    /// A cache the controller reads but is not woken by.
    pub fn reads<K: Kind>(&mut self) -> Cache<K> {
        let cache = self.informers.cache::<K>();
        self.track(&cache);
        cache
    }

    /// A cache whose every change wakes the changed object's own key.
    pub fn primary<K: Kind>(&mut self) -> Cache<K> {
        self.mapped(|delta: &Delta<K>| vec![delta.object().key.clone()])
    }

    /// A cache whose changes wake the keys of owners of the given kind (the controller owner reference,
    /// of the new and of the old state).
    pub fn owned<K: Kind>(&mut self, api_version: &'static str, kind: &'static str) -> Cache<K> {
        self.mapped(move |delta: &Delta<K>| {
            let mut keys = Vec::new();
            for state in std::iter::once(delta.object()).chain(delta.old()) {
                if let Some(owner) = state.controller()
                    && &*owner.kind == kind
                    && &*owner.api_version == api_version
                {
                    let key = Key { namespace: state.key.namespace.clone(), name: owner.name.clone() };
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
            }
            keys
        })
    }

    /// A cache whose changes wake the keys `map` names.
    pub fn mapped<K: Kind>(
        &mut self,
        map: impl Fn(&Delta<K>) -> Vec<Key> + Send + Sync + 'static,
    ) -> Cache<K> {
        self.mapped_in(Scope::default(), map)
    }

    /// As [`Self::mapped`], for the objects that `scope` selects. The controller's writes outside the scope are not
    /// waited for.
    pub fn mapped_in<K: Kind>(
        &mut self,
        scope: Scope,
        map: impl Fn(&Delta<K>) -> Vec<Key> + Send + Sync + 'static,
    ) -> Cache<K> {
        let cache = self.informers.cache_of::<K>(scope);
        self.track(&cache);
        let queue = self.queue.clone();
        cache.subscribe(move |delta| {
            for key in map(delta) {
                queue.add(key);
            }
        });
        cache
    }

    fn track<K: Kind>(&mut self, cache: &Cache<K>) {
        let name = format!("{}/{}", K::api_version(&()), K::kind(&()));
        if self.reads.contains(&name) {
            return;
        }
        self.reads.push(name);
        let waiting = cache.clone();
        self.synced.push(Box::new(move || {
            let cache = waiting.clone();
            Box::pin(async move { cache.wait_synced().await })
        }));
        let cache = cache.clone();
        self.echoes.push(Box::new(move |effect| echo(cache.clone(), effect)));
    }
}

/// The owner that controls an object.
pub fn controller_of<K: Kind>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.as_ref()?.iter().find(|o| o.controller == Some(true))
}

/// Waits until `cache` has seen an effect on an object of its kind; `None` when it holds another kind.
fn echo<K: Kind>(cache: Cache<K>, effect: &Effect) -> Option<BoxFuture<'_, ()>> {
    let (Effect::Wrote { target, .. } | Effect::Deleted { target, .. }) = effect;
    if target.resource.resource != K::plural(&()) || target.resource.group != K::group(&()) {
        return None;
    }
    Some(match effect {
        Effect::Wrote { target, object } => Box::pin(async move {
            let key = Key::new(&target.namespace, object.name());
            let version: u64 = object.resource_version().parse().unwrap_or(0);
            let uid = object.uid();
            // Seen: this version or a later one, or another object of the name, or none any more: the written one
            // was already going, or somebody deleted it since.
            cache
                .wait_until(|cache| match cache.find(&key) {
                    Some(held) => &*held.uid != uid || held.version >= version,
                    None => object.deletion_timestamp().is_some() || cache.has_reached(version),
                })
                .await;
        }),
        Effect::Deleted { target, uid } => Box::pin(async move {
            let key = Key::new(&target.namespace, &target.name);
            cache
                .wait_until(|cache| {
                    cache.find(&key).is_none_or(|held| {
                        held.is_being_deleted() || uid.as_ref().is_some_and(|uid| *held.uid != **uid)
                    })
                })
                .await;
        }),
    })
}

/// Makes the client of a service account.
pub type ClientOf = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// The dependencies of the controllers' loop.
#[derive(Clone)]
pub struct Context {
    /// Each controller acts as its own service account, with no more rights than it needs.
    pub client_of: ClientOf,
    /// Shared by all controllers, and so follows kinds under an identity of its own.
    pub informers: Informers,
    pub clock: Arc<dyn Clock>,
    pub supervisor: Supervisor,
    pub metrics: Metrics,
}

/// One controller's declaration, as listed by [`Manager::graph`].
#[derive(Debug, Clone)]
pub struct Declaration {
    pub name: &'static str,
    pub reads: Vec<String>,
}

/// Runs controllers.
pub struct Manager {
    context: Context,
    declared: Vec<Declaration>,
}

impl Manager {
    pub fn new(context: Context) -> Self {
        Self { context, declared: Vec::new() }
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The controllers that were started, and the kinds that each reads.
    pub fn graph(&self) -> &[Declaration] {
        &self.declared
    }

    /// Lists a loop that runs on its own.
    pub fn declare(&mut self, declaration: Declaration) {
        self.declared.push(declaration);
    }

    /// Starts a controller's workers; they begin once its caches are complete.
    pub fn start<C: Controller>(&mut self, config: C::Config) {
        let queue = Queue::named(C::QUEUE, &self.context.metrics);
        let mut sources = Sources {
            informers: &self.context.informers,
            queue: queue.clone(),
            echoes: Vec::new(),
            synced: Vec::new(),
            reads: Vec::new(),
        };
        let controller = C::sources(&mut sources, config);
        self.declared.push(Declaration { name: C::NAME, reads: sources.reads });
        let client = (self.context.client_of)(C::ACCOUNT);
        let recorder = Recorder::start(
            client.clone(),
            C::EVENT_SOURCE,
            None,
            self.context.clock.clone(),
            &self.context.supervisor,
        );
        let worker = Arc::new(Worker {
            controller,
            queue,
            echoes: sources.echoes,
            synced: sources.synced,
            executor: Executor::new(client.clone(), recorder, FIELD_MANAGER)
                .counted(&self.context.metrics, C::NAME),
            client,
            failures: Mutex::default(),
            complaints: Complaints::of(C::NAME),
            clock: self.context.clock.clone(),
        });
        for _ in 0..C::WORKERS {
            let worker = worker.clone();
            let shutdown = self.context.supervisor.shutdown().clone();
            self.context.supervisor.spawn(TaskKind::Essential, C::NAME, async move {
                tokio::select! {
                    () = worker.run() => {}
                    () = shutdown.started() => {}
                }
            });
        }
    }
}

struct Worker<C: Controller> {
    controller: C,
    queue: Queue<Key>,
    echoes: Vec<EchoCheck>,
    synced: Vec<Synced>,
    executor: Executor,
    client: Client,
    /// The failure of the last plan of each key whose last plan failed.
    failures: Mutex<HashMap<Key, Failure>>,
    complaints: Complaints<Key>,
    clock: Arc<dyn Clock>,
}

impl<C: Controller> Worker<C> {
    async fn run(&self) {
        for synced in &self.synced {
            synced().await;
        }
        while let Some(key) = self.queue.next().await {
            let span = tracing::debug_span!("round", controller = C::NAME, %key);
            // One object that trips a round over must not stop the rest.
            if AssertUnwindSafe(self.round(&key).instrument(span)).catch_unwind().await.is_err() {
                tracing::error!(controller = C::NAME, %key, "a round panicked and will be tried again");
                self.queue.retry(key.clone());
            }
            self.queue.done(&key);
        }
    }

    async fn round(&self, key: &Key) {
        let failure = self.failures().get(key).cloned();
        let now = self.clock.now();
        let round = Round { key, client: &self.client, now, failure: failure.as_ref() };
        let observed = match self.controller.observe(&round).await {
            Ok(Some(observed)) => observed,
            Ok(None) => {
                self.controller.tally(key, None).into_iter().for_each(|tally| tally(true));
                return self.went_well(key);
            }
            Err(error) => {
                self.complaints.log(key, "the state could not be read", &client::message(&error));
                return self.queue.retry(key.clone());
            }
        };
        let plan = C::reconcile(&observed, now);
        let tally = self.controller.tally(key, Some((&observed, &plan)));
        drop(observed);
        for reason in &plan.reasons {
            tracing::debug!(controller = C::NAME, %key, reason);
        }
        let mut effects = Vec::new();
        let outcome = self.executor.run(&plan, &mut effects).await;
        self.wait_for_echoes(&effects).await;
        tally.into_iter().for_each(|tally| tally(matches!(outcome, Outcome::Done)));
        match outcome {
            Outcome::Done => {
                self.went_well(key);
                if let Some(after) = plan.again_after {
                    self.queue.add_after(key.clone(), after);
                }
            }
            Outcome::Conflict => self.queue.retry(key.clone()),
            Outcome::Failed(failure) => {
                let why = &failure.message;
                if failure.gone {
                    tracing::debug!(controller = C::NAME, %key, why, "what the plan was for is gone");
                } else {
                    self.complaints.log(key, "a plan failed and will be tried again", why);
                }
                self.failures().insert(key.clone(), failure);
                self.queue.retry(key.clone());
            }
        }
    }

    fn went_well(&self, key: &Key) {
        self.queue.forget(key);
        self.failures().remove(key);
        self.complaints.forget(key);
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Failure>> {
        self.failures.lock().unwrap_or_else(|e| e.into_inner())
    }

    async fn wait_for_echoes(&self, effects: &[Effect]) {
        let waits = effects.iter().flat_map(|effect| self.echoes.iter().filter_map(move |echo| echo(effect)));
        if tokio::time::timeout(ECHO_PATIENCE, futures::future::join_all(waits)).await.is_err() {
            tracing::warn!(controller = C::NAME, "own writes were not seen on the watch in time");
        }
    }
}

#[cfg(test)]
mod tests;
