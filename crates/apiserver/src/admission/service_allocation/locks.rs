//! [`Locks`]: keeps servers on one store from giving one node port to two Services.
//!
//! A server counts node ports as its cache shows them, which says nothing of what other servers are about to write. So
//! where there are others, a server takes a lock of each port in the store, of which one writer gets it, looks once
//! more, and gives the lock back after its write. A server that looks after having taken the lock therefore sees the
//! Service of whoever had the lock before. The locks of a server that was killed end by themselves.

use std::sync::Arc;

use base::{Supervisor, TaskKind};
use store::{Expect, KeyValue, Previous, Revision};

use crate::cache::Cache;

/// Upstream's key of the node ports (`pkg/registry/core/rest/storage_core.go`), below which it keeps one object.
const PREFIX: &str = "/registry/ranges/servicenodeports/";
/// As long as a request may take.
const TTL_S: u64 = 60;

/// See the module's documentation.
pub(super) struct Locks {
    cache: Cache,
    supervisor: Supervisor,
}

/// A port that only this server gives out now; given back when dropped.
#[must_use = "a lock that is dropped is given back"]
pub(super) struct Lock {
    pub port: u16,
    revision: Revision,
    giver: Option<Arc<Locks>>,
}

impl Lock {
    /// Leaves the lock to end by itself.
    pub fn leave(mut self) {
        self.giver = None;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(giver) = self.giver.take() {
            giver.give_back(self.port, self.revision);
        }
    }
}

fn key(port: u16) -> String {
    format!("{PREFIX}{port}")
}

impl Locks {
    pub fn new(cache: Cache, supervisor: Supervisor) -> Arc<Self> {
        Arc::new(Self { cache, supervisor })
    }

    /// Locks the ports, those apart that are among `known` already. Returns those too that another server has locked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take(
        self: &Arc<Self>,
        ports: &[u16],
        mut known: Vec<Lock>,
    ) -> Result<(Vec<Lock>, Vec<u16>), store::Error> {
        let (mut locks, mut missed) = (Vec::new(), Vec::new());
        for port in ports {
            if let Some(at) = known.iter().position(|lock| lock.port == *port) {
                locks.push(known.swap_remove(at));
                continue;
            }
            let key = key(*port);
            let put = self.cache.store().put(&key, b"{}".to_vec().into(), Expect::Absent, Some(TTL_S));
            match put.await {
                Ok(KeyValue { mod_revision: revision, .. }) => {
                    locks.push(Lock { port: *port, revision, giver: Some(Arc::clone(self)) });
                }
                Err(store::Error::Conflict { .. }) => missed.push(*port),
                Err(error) => return Err(error),
            }
        }
        Ok((locks, missed))
    }

    fn give_back(self: &Arc<Self>, port: u16, revision: Revision) {
        let this = Arc::clone(self);
        self.supervisor.spawn(TaskKind::Background, "node-port-release", async move {
            let key = key(port);
            let gone = this.cache.store().delete(&key, Expect::Revision(revision), Previous::Unwanted);
            if let Err(error) = gone.await {
                tracing::debug!(port, %error, "the lock of a node port ends by itself");
            }
        });
    }
}
