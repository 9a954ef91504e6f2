//! The last changes in memory, and the signal that there are new ones.
//!
//! Watchers pull: each knows its position, takes newer changes from the hub, and reads the disk when it
//! has fallen behind. So no watcher has a buffer of its own that could overflow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::types::{Change, Revision};

/// The limit of what is kept in memory.
const RECENT_CHANGES: usize = 4096;
const RECENT_BYTES: usize = 2 << 20;

#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub revision: Revision,
    /// How often progress has been asked for.
    pub asked: u64,
    pub closed: bool,
}

pub(super) struct Hub {
    state: watch::Sender<State>,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    /// Without gaps, in order.
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

impl Hub {
    pub fn new(revision: Revision) -> Self {
        Self {
            state: watch::Sender::new(State { revision, asked: 0, closed: false }),
            recent: Mutex::default(),
        }
    }

    pub fn revision(&self) -> Revision {
        self.state.borrow().revision
    }

    /// Sets the revision of a file that was just opened, before any watch exists.
    pub fn restore(&self, revision: Revision) {
        self.state.send_modify(|state| state.revision = revision);
    }

    pub fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Makes committed changes, which follow the last published ones without a gap, visible to watchers.
    pub fn publish(&self, changes: Vec<Arc<Change>>) {
        let Some(last) = changes.last().map(|c| c.revision) else { return };
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).push(changes);
        self.state.send_modify(|state| state.revision = last);
    }

    /// Makes every watcher report its progress.
    pub fn ask_progress(&self) {
        self.state.send_modify(|state| state.asked += 1);
    }

    pub fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// At most `limit` changes that follow `position`; `None` when the first of them is not in memory.
    pub fn after(&self, position: Revision, limit: usize) -> Option<Vec<Arc<Change>>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let first = recent.changes.front()?.revision;
        let skip = usize::try_from((position + 1).checked_sub(first)?).ok()?;
        Some(recent.changes.iter().skip(skip).take(limit).cloned().collect())
    }
}

impl Recent {
    fn push(&mut self, changes: Vec<Arc<Change>>) {
        for change in changes {
            self.bytes += weight(&change);
            self.changes.push_back(change);
        }
        while self.changes.len() > RECENT_CHANGES || self.bytes > RECENT_BYTES {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= weight(&oldest);
        }
    }
}

fn weight(change: &Change) -> usize {
    let previous = change.previous.as_ref().map_or(0, |p| p.value.len());
    128 + change.key.len() + change.value.as_ref().map_or(0, |v| v.len()) + previous
}
