//! A watcher's stream: from the hub's memory while the watcher keeps up, from the disk when it has fallen behind.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::hub::State;
use super::read;
use super::shared::Shared;
use crate::types::{Change, Error, Revision, Watch, WatchItem};

/// Changes looked at in one step.
const BATCH: usize = 512;

struct Watcher {
    shared: Arc<Shared>,
    signal: watch::Receiver<State>,
    prefix: String,
    /// Every change up to this revision was delivered or does not concern the watcher.
    position: Revision,
    /// The last request for progress that was fulfilled.
    answered: u64,
    failed: bool,
}

pub(super) fn start(shared: Arc<Shared>, prefix: &str, after: Revision) -> Result<Watch, Error> {
    let signal = shared.hub.subscribe();
    shared.read(|txn| read::check_revision(after, &read::counters(txn)?))?;
    let answered = signal.borrow().asked;
    let prefix = prefix.to_owned();
    let watcher = Watcher { shared, signal, prefix, position: after, answered, failed: false };
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
    async fn next(&mut self) -> Result<WatchItem, Error> {
        loop {
            let state = *self.signal.borrow_and_update();
            if state.revision <= self.position {
                if state.closed {
                    return Err(Error::Closed);
                }
                if state.asked != self.answered {
                    self.answered = state.asked;
                    return Ok(WatchItem::Progress(self.position));
                }
                self.signal.changed().await.map_err(|_| Error::Closed)?;
                continue;
            }
            let mut changes = match self.shared.hub.after(self.position, BATCH) {
                Some(changes) => changes,
                None => self.read_disk().await?,
            };
            // A commit can be on the disk a moment before it is published.
            let Some(last) = changes.last() else { continue };
            self.position = last.revision;
            changes.retain(|change| change.key.starts_with(&self.prefix));
            return Ok(match changes.is_empty() {
                true => WatchItem::Progress(self.position),
                false => WatchItem::Changes(changes),
            });
        }
    }

    async fn read_disk(&self) -> Result<Vec<Arc<Change>>, Error> {
        let (shared, position) = (self.shared.clone(), self.position);
        tokio::task::spawn_blocking(move || shared.read(|txn| read::changes_after(txn, position, BATCH)))
            .await
            .map_err(|e| Error::Io(format!("reading the history was aborted: {e}").into()))?
    }
}
