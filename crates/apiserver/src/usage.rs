//! What nodes and pods have used of late, as samples of the nodes' agents. Nothing is collected here: samples are taken
//! when somebody asks (`crates/apiserver/src/subresources/usage/measure.rs`).
//!
//! Start with [`Usage`]. The use of CPU is a counter's growth between two samples, which [`history`] keeps a minute
//! long; [`summary`] reads an agent's answer. Never here: a connection.

mod history;
mod summary;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::Error;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use jiff::{SignedDuration, Timestamp};

pub(crate) use history::{History, Measured, Sample, Used};
pub(crate) use summary::read;

/// The least time between two samples of a node: who asks sooner gets the figures of the last.
pub(crate) const SPACING: SignedDuration = SignedDuration::from_secs(1);

/// The last samples of the nodes that were asked for.
#[derive(Default)]
pub(crate) struct Usage {
    nodes: Mutex<HashMap<String, Node>>,
}

#[derive(Default)]
struct Node {
    history: History,
    /// A sample being taken, which all who ask meanwhile share.
    taking: Option<WeakShared<Taking>>,
}

/// A node's samples, once a further one has been taken.
pub(crate) type Taking = BoxFuture<'static, Result<History, Error>>;

impl Usage {
    /// The samples of a node, with one that is fresh: `take` says how one is taken where there is none.
    pub(crate) fn sampled(
        &self,
        name: &str,
        now: Timestamp,
        take: impl FnOnce() -> Taking,
    ) -> Shared<Taking> {
        let mut nodes = self.nodes();
        // Who has not been asked for lately is forgotten; nodes that are gone, too.
        nodes.retain(|other, node| other == name || node.history.is_useful(now));
        let node = nodes.entry(name.to_owned()).or_default();
        if node.history.taken().is_some_and(|taken| is_fresh(taken, now)) {
            return futures::future::ready(Ok(node.history.clone())).boxed().shared();
        }
        if let Some(taking) = node.taking.as_ref().and_then(WeakShared::upgrade) {
            return taking;
        }
        let taking = take().shared();
        node.taking = taking.downgrade();
        taking
    }

    /// Adds a sample and returns it with those before.
    pub(crate) fn add(&self, name: String, sample: Sample) -> History {
        let mut nodes = self.nodes();
        let node = nodes.entry(name).or_default();
        node.history.add(sample);
        node.history.clone()
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(taken: Timestamp, now: Timestamp) -> bool {
    (SignedDuration::ZERO..SPACING).contains(&now.duration_since(taken))
}
