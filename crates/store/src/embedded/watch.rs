//! A watcher's stream: from the hub's memory where it keeps up, from the disk where it does not.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::hub::State;
use super::read;
use super::shared::Shared;
use crate::types::{Change, Error, Revision, Watch};

/// Changes looked at in one step.
const BATCH: usize = 512;

struct Watcher {
    shared: Arc<Shared>,
    signal: watch::Receiver<State>,
    prefix: String,
    /// Everything up to here was delivered or is none of the watcher's business.
    position: Revision,
    failed: bool,
}

pub(super) fn start(shared: Arc<Shared>, prefix: &str, after: Revision) -> Result<Watch, Error> {
    let signal = shared.hub.subscribe();
    shared.read(|txn| read::check_revision(after, &read::counters(txn)?))?;
    let watcher = Watcher { shared, signal, prefix: prefix.to_owned(), position: after, failed: false };
    Ok(stream::unfold(watcher, |mut watcher| async move {
        if watcher.failed {
            return None;
        }
        let batch = watcher.next().await;
        watcher.failed = batch.is_err();
        Some((batch, watcher))
    })
    .boxed())
}

impl Watcher {
    async fn next(&mut self) -> Result<Vec<Arc<Change>>, Error> {
        loop {
            let state = *self.signal.borrow_and_update();
            if state.revision <= self.position {
                if state.closed {
                    return Err(Error::Closed);
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
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    async fn read_disk(&self) -> Result<Vec<Arc<Change>>, Error> {
        let (shared, position) = (self.shared.clone(), self.position);
        tokio::task::spawn_blocking(move || shared.read(|txn| read::changes_after(txn, position, BATCH)))
            .await
            .map_err(|e| Error::Io(format!("reading the history was aborted: {e}").into()))?
    }
}
