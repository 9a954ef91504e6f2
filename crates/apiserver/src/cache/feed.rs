//! Follows the store with one watch and applies the changes to the resources' caches.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base::backoff::Policy;
use base::{Shutdown, Supervisor, TaskKind};
use futures::StreamExt;
use store::{Change, ListRange, Revision, Store, Watch, WatchItem};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::lanes::Woken;
use super::resource::ResourceCache;
use super::resource_spec::ResourceSpec;
use super::ring::SETTLED;
use super::{CacheError, ROOT, Shared};

/// Keys loaded in one step.
const LOAD_STEP: usize = 500;
const RETRY: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(10));

pub(super) enum Command {
    Register { spec: ResourceSpec, reply: oneshot::Sender<Result<Arc<ResourceCache>, CacheError>> },
    Unregister { prefix: String, reply: oneshot::Sender<()> },
}

struct Feed {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    applied: Revision,
    /// When events are old enough for rings to shrink to their share; `None` while no ring is larger.
    trim_at: Option<Instant>,
}

/// Why following stopped.
enum End {
    Shutdown,
    Lost(store::Error),
}

/// Loads the resources and starts the task.
pub(super) async fn start(
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    supervisor: &Supervisor,
    specs: Vec<ResourceSpec>,
) -> Result<mpsc::Sender<Command>, CacheError> {
    let (sender, commands) = mpsc::channel(16);
    let applied = shared.calls.revision(&*store).await?;
    let mut feed = Feed { store, shared, commands, applied, trim_at: None };
    for spec in specs {
        feed.load(spec).await?;
    }
    feed.say_applied();
    let shutdown = supervisor.shutdown().clone();
    supervisor.spawn(TaskKind::Essential, "watch-cache", feed.run(shutdown));
    Ok(sender)
}

/// Resolves when everything up to `revision` is applied.
pub(super) async fn wait_applied(shared: &Shared, revision: Revision) -> Result<(), CacheError> {
    let mut applied = shared.applied.subscribe();
    match applied.wait_for(|applied| applied.closed || applied.revision >= revision).await {
        Ok(applied) if applied.revision >= revision => Ok(()),
        _ => Err(CacheError::Closed),
    }
}

impl Feed {
    async fn run(mut self, shutdown: Shutdown) {
        let mut failures = 0;
        loop {
            match self.follow(&shutdown, &mut failures).await {
                End::Shutdown => break,
                End::Lost(store::Error::Closed) => {
                    tracing::info!("the store is closed; the watch cache ends");
                    break;
                }
                End::Lost(store::Error::Compacted { asked, oldest }) => {
                    tracing::warn!(asked, oldest, "the watch cache fell behind the store and loads anew");
                    if let Err(error) = self.reload().await {
                        tracing::error!(%error, "the watch cache cannot load");
                    }
                }
                End::Lost(error) => tracing::error!(%error, "the watch of the store broke"),
            }
            failures += 1;
            tokio::select! {
                () = shutdown.started() => break,
                () = tokio::time::sleep(RETRY.delay(failures)) => {}
            }
        }
        for resource in self.resources() {
            resource.close();
        }
        self.shared.applied.send_modify(|applied| applied.closed = true);
    }

    async fn follow(&mut self, shutdown: &Shutdown, failures: &mut u32) -> End {
        let mut watch = match self.begin().await {
            Ok(watch) => watch,
            Err(error) => return End::Lost(error),
        };
        loop {
            let trim_at = self.trim_at;
            let settled = async {
                match trim_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.started() => return End::Shutdown,
                () = settled => self.trim(),
                // Before the changes, which need not pause for it.
                Some(command) = self.commands.recv() => self.obey(command).await,
                item = watch.next() => match item {
                    Some(Ok(WatchItem::Changes(changes))) => {
                        *failures = 0;
                        self.apply(&changes);
                    }
                    Some(Ok(WatchItem::Progress(upto))) => {
                        *failures = 0;
                        self.applied = self.applied.max(upto);
                        self.say_applied();
                    }
                    Some(Err(error)) => return End::Lost(error),
                    None => return End::Lost(store::Error::Closed),
                },
            }
        }
    }

    /// A watch that goes on where the last one ended. Readers may wait for progress that they had asked the last
    /// one for.
    async fn begin(&self) -> Result<Watch, store::Error> {
        let watch = self.store.watch(ROOT, self.applied).await?;
        if self.store.is_shared() {
            self.store.request_progress().await?;
        }
        Ok(watch)
    }

    /// Applies the changes resource by resource, then says up to where.
    fn apply(&mut self, changes: &[Arc<Change>]) {
        let now = Instant::now();
        let mut touched: Vec<(Arc<ResourceCache>, Vec<Arc<Change>>)> = Vec::new();
        for change in changes {
            let Some(resource) = self.owner(&change.key) else { continue };
            match touched.iter_mut().find(|(r, _)| Arc::ptr_eq(r, &resource)) {
                Some((_, own)) => own.push(change.clone()),
                None => touched.push((resource, vec![change.clone()])),
            }
        }
        let woken: Vec<_> = touched.iter().map(|(resource, own)| resource.apply(own, now)).collect();
        if let Some(last) = changes.last() {
            self.applied = last.revision;
            self.say_applied();
        }
        // Once it is said how far all is applied: who wakes up asks for that.
        woken.into_iter().for_each(Woken::wake);
        self.trim_at.get_or_insert(now + SETTLED);
    }

    fn trim(&mut self) {
        let now = Instant::now();
        let large = self.resources().iter().filter(|resource| resource.trim(now)).count();
        self.trim_at = (large > 0).then(|| now + SETTLED);
    }

    fn say_applied(&self) {
        self.shared.applied.send_modify(|applied| applied.revision = self.applied);
    }

    /// The resource a key belongs to: `prefix/namespace/name` or `prefix/name`.
    fn owner(&self, key: &str) -> Option<Arc<ResourceCache>> {
        let (parent, _) = key.strip_prefix(ROOT)?.rsplit_once('/')?;
        let resources = self.shared.resources.read().unwrap_or_else(PoisonError::into_inner);
        let namespaced = parent.rsplit_once('/').and_then(|(prefix, _)| resources.get(prefix));
        namespaced
            .filter(|resource| resource.spec.namespaced)
            .or_else(|| resources.get(parent).filter(|resource| !resource.spec.namespaced))
            .cloned()
    }

    async fn obey(&mut self, command: Command) {
        // The caller may have gone: nothing to tell then.
        match command {
            Command::Register { spec, reply } => {
                let _ = reply.send(self.load(spec).await);
            }
            Command::Unregister { prefix, reply } => {
                let gone =
                    self.shared.resources.write().unwrap_or_else(PoisonError::into_inner).remove(&prefix);
                if let Some(resource) = gone {
                    resource.close();
                }
                let _ = reply.send(());
            }
        }
    }

    /// Loads a resource as of the revision that is applied, and puts it in place.
    async fn load(&mut self, spec: ResourceSpec) -> Result<Arc<ResourceCache>, CacheError> {
        let spec = Arc::new(spec);
        let (store, shared) = (self.store.clone(), self.shared.clone());
        let resource = ResourceCache::empty(spec.clone(), store, shared, self.applied);
        let prefix = spec.key("", "");
        let mut range = ListRange { prefix, after: String::new(), limit: LOAD_STEP, at: Some(self.applied) };
        loop {
            let listed = self.store.list(range.clone());
            let step = self.shared.calls.timed("list", &spec.resource, listed).await?;
            let last = step.items.last().map(|item| item.key.to_string());
            resource.add_loaded(step.items)?;
            match last {
                Some(last) if step.more => range.after = last,
                _ => break,
            }
        }
        let replaced = self
            .shared
            .resources
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(spec.prefix.clone(), resource.clone());
        if let Some(replaced) = replaced {
            replaced.close();
        }
        Ok(resource)
    }

    /// After history was lost: all resources anew; watches end, as nobody knows what they missed.
    async fn reload(&mut self) -> Result<(), CacheError> {
        let now = self.shared.calls.revision(&*self.store).await?;
        let before = std::mem::replace(&mut self.applied, now);
        for resource in self.resources() {
            if let Err(error) = self.load(resource.spec.as_ref().clone()).await {
                // Those not loaded yet would never hear of what lies between: all are loaded once more.
                self.applied = before;
                return Err(error);
            }
        }
        self.say_applied();
        Ok(())
    }

    fn resources(&self) -> Vec<Arc<ResourceCache>> {
        self.shared.resources.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
