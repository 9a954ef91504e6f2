//! A watch of the store in memory: pulls from the history, as far and as soon as the faults let it.

use futures::{StreamExt, stream};
use tokio::sync::watch as signal;

use super::Memory;
use super::faults::{Part, WatchStep};
use crate::types::{Error, Revision, Watch, WatchItem};

/// Changes looked at in one step.
const BATCH: usize = 512;

struct Watcher {
    store: Memory,
    revision: signal::Receiver<Revision>,
    asked: signal::Receiver<u64>,
    closed: signal::Receiver<bool>,
    /// Raised when watches break.
    broken: signal::Receiver<Option<Error>>,
    prefix: String,
    /// Every change up to this revision was yielded or does not concern the watch.
    position: Revision,
    /// The last request for progress that was fulfilled.
    answered: u64,
    failed: bool,
}

pub(super) fn start(store: &Memory, prefix: &str, after: Revision) -> Result<Watch, Error> {
    store.shared.state().check_revision(after)?;
    let asked = store.asked.subscribe();
    let answered = *asked.borrow();
    let mut broken = store.faults.broken();
    // What broke before concerns the watches of that time.
    broken.mark_unchanged();
    let watcher = Watcher {
        store: store.clone(),
        revision: store.shared.revision.subscribe(),
        asked,
        closed: store.closed.subscribe(),
        broken,
        prefix: prefix.to_owned(),
        position: after,
        answered,
        failed: false,
    };
    Ok(stream::unfold(watcher, |mut watcher| async move {
        if watcher.failed {
            return None;
        }
        let item = watcher.next().await;
        watcher.failed = item.is_err();
        Some((item, watcher))
    })
    .boxed())
}

impl Watcher {
    /// The next item, or the error that ends the watch. Breaking and closing interrupt any wait.
    async fn next(&mut self) -> Result<WatchItem, Error> {
        let (mut broken, mut closed) = (self.broken.clone(), self.closed.clone());
        tokio::select! {
            biased;
            error = broken_with(&mut broken) => Err(error),
            item = self.pull() => item,
            _ = closed.wait_for(|closed| *closed) => Err(Error::Closed),
        }
    }

    async fn pull(&mut self) -> Result<WatchItem, Error> {
        loop {
            self.store.faults.passed(Part::Watches).await;
            if let WatchStep::Break(error) = self.store.faults.before_watch_step().await {
                return Err(error);
            }
            let asked = *self.asked.borrow_and_update();
            self.revision.mark_unchanged();
            let changes = self.store.shared.state().changes_after(self.position, BATCH)?;
            if let Some(last) = changes.last() {
                self.position = last.revision;
                let own = changes.into_iter().filter(|change| change.key.starts_with(&self.prefix));
                let own: Vec<_> = own.collect();
                if !own.is_empty() {
                    return Ok(WatchItem::Changes(own));
                }
                // As etcd: what concerns the watch not is told only to who asks.
                continue;
            }
            if asked != self.answered {
                self.store.faults.passed(Part::Progress).await;
                self.answered = asked;
                return Ok(WatchItem::Progress(self.position));
            }
            tokio::select! {
                biased;
                changed = self.revision.changed() => changed.map_err(|_| Error::Closed)?,
                changed = self.asked.changed() => changed.map_err(|_| Error::Closed)?,
            }
        }
    }
}

/// Waits until watches break.
async fn broken_with(broken: &mut signal::Receiver<Option<Error>>) -> Error {
    loop {
        if broken.changed().await.is_err() {
            return Error::Closed;
        }
        if let Some(error) = broken.borrow_and_update().clone() {
            return error;
        }
    }
}
