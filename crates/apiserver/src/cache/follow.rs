//! Keeping an index of stored objects current: [`follow`] loads some resources of the watch cache into an
//! [`Index`] and applies all later changes.
//!
//! The index decides which parts of an object to keep. No timers, no polling: the task sleeps until the next change.

use std::sync::Arc;

use base::{Supervisor, TaskKind};
use futures::FutureExt;
use futures::future::select_all;
use tokio::sync::{mpsc, oneshot};

use crate::cache::{CacheError, CacheWatch, Entry, ResourceCache, Scope, WatchEvent};

/// Something made of stored objects. `source` is the position of the resource in the list given to [`follow`].
pub(crate) trait Index: Send + Sync + 'static {
    /// Forgets all objects of the resource and takes these.
    fn replace(&self, source: usize, entries: &[Arc<Entry>]);

    /// Takes in changes, in order.
    fn apply(&self, source: usize, events: &[WatchEvent]);
}

/// Asks the following task to catch up.
#[derive(Clone)]
pub(crate) struct Follower {
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl Follower {
    /// Waits until the index holds everything that the watch cache holds now. Returns at once when nothing is
    /// followed any more, because the server stops.
    pub(crate) async fn settled(&self) {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(reply).await.is_ok() {
            // An error means that the task has ended: there is nothing to wait for.
            let _ended = answer.await;
        }
    }
}

/// Loads the resources into the index before it returns, then keeps it current until shutdown.
pub(crate) fn follow(
    index: Arc<dyn Index>,
    sources: Vec<Arc<ResourceCache>>,
    supervisor: &Supervisor,
    name: &'static str,
) -> Follower {
    let (requests, inbox) = mpsc::channel(16);
    let watches: Vec<_> =
        sources.iter().enumerate().map(|(source, cache)| load(&*index, source, cache)).collect();
    let shutdown = supervisor.shutdown().clone();
    let run = async move {
        tokio::select! {
            () = shutdown.started() => {}
            () = keep_current(index, sources, watches, inbox) => {}
        }
    };
    supervisor.spawn(TaskKind::Essential, name, run);
    Follower { requests }
}

fn load(index: &dyn Index, source: usize, cache: &Arc<ResourceCache>) -> CacheWatch {
    let (snapshot, watch) = cache.snapshot_and_watch(Scope::default());
    index.replace(source, &snapshot.entries);
    watch
}

async fn keep_current(
    index: Arc<dyn Index>,
    sources: Vec<Arc<ResourceCache>>,
    mut watches: Vec<CacheWatch>,
    mut inbox: mpsc::Receiver<oneshot::Sender<()>>,
) {
    loop {
        let next = async {
            let (result, source, _) = select_all(watches.iter_mut().map(|watch| watch.next().boxed())).await;
            (source, result)
        };
        let (source, result) = tokio::select! {
            news = next => news,
            request = inbox.recv() => {
                let Some(reply) = request else { return std::future::pending().await };
                if !catch_up(&*index, &sources, &mut watches) {
                    return;
                }
                // Nobody waits any more when this fails.
                let _gone = reply.send(());
                continue;
            }
        };
        if !take_in(&*index, &sources, &mut watches, source, result) {
            return;
        }
    }
}

/// Applies all that is there without waiting; false when a resource is served no more.
fn catch_up(index: &dyn Index, sources: &[Arc<ResourceCache>], watches: &mut [CacheWatch]) -> bool {
    for source in 0..watches.len() {
        while let Some(result) = watches[source].next().now_or_never() {
            if !take_in(index, sources, watches, source, result) {
                return false;
            }
        }
    }
    true
}

fn take_in(
    index: &dyn Index,
    sources: &[Arc<ResourceCache>],
    watches: &mut [CacheWatch],
    source: usize,
    result: Result<Vec<WatchEvent>, CacheError>,
) -> bool {
    match result {
        Ok(events) => index.apply(source, &events),
        Err(CacheError::Closed) => return false,
        // Too many changes at once: everything anew.
        Err(_) => watches[source] = load(index, source, &sources[source]),
    }
    true
}
