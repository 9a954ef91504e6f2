//! The backend of tests: a linearizable store in memory whose delays and faults are made at will.
//!
//! Start with [`Memory`]. It keeps the whole history until it is compacted (`state`, pure), hands it out to
//! watches (`watch`), and asks [`Faults`] before and after each step whether the step fails. Several handles may
//! share one store ([`Memory::another`]), as several servers share one etcd.
//!
//! The same calls always do the same: time comes from the config's clock, randomness from the caller, delays go by
//! tokio's clock, which tests pause. Never here: a task or a thread of its own. Keys that have expired go when the
//! store is used next, those of one lease in one commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use base::{Clock, SystemClock};
use bytes::Bytes;
use tokio::sync::watch as signal;

use crate::types::{
    Deletion, Error, Expect, KeyValue, ListPage, ListRange, Moment, Previous, Revision, Store, Versions,
    Watch,
};

mod faults;
mod state;
mod watch;

pub use faults::{Faults, Part, Rates, WriteFault};

use state::State;

/// Configuration of the store in memory. [`Config::default`] is a store without faults.
#[derive(Clone)]
pub struct Config {
    /// The time that expiry goes by.
    pub clock: Arc<dyn Clock>,
    /// The largest key and value together, in bytes.
    pub limit_bytes: usize,
    /// Keys that expire within the same interval of this many seconds share a lease; at least 1.
    pub lease_s: u64,
    /// Whether the store reports that others write to it too.
    pub shared: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), limit_bytes: 3 << 19, lease_s: 1, shared: false }
    }
}

/// A handle of the store. Clones are the same handle: closing one closes all.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
    faults: Faults,
    closed: Arc<signal::Sender<bool>>,
    /// How often progress has been asked for, by this handle.
    asked: Arc<signal::Sender<u64>>,
}

/// The state that all handles of one store share.
struct Shared {
    config: Config,
    state: Mutex<State>,
    /// The last revision, for those who wait for more.
    revision: signal::Sender<Revision>,
}

impl Shared {
    /// The state, after what has expired by now is gone.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = u64::try_from(self.config.clock.now().as_millisecond()).unwrap_or(0);
        state.expire(now_ms);
        self.revision.send_if_modified(|revision| {
            let later = *revision != state.revision();
            *revision = state.revision();
            later
        });
        state
    }

    /// Changes the state and wakes the watches.
    fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let done = work(&mut state);
        let revision = state.revision();
        drop(state);
        self.revision.send_replace(revision);
        done
    }
}

impl Memory {
    /// An empty store.
    pub fn new(config: Config) -> Self {
        let shared = Arc::new(Shared {
            config,
            state: Mutex::default(),
            revision: signal::Sender::new(state::FIRST_REVISION),
        });
        Self::handle(shared)
    }

    fn handle(shared: Arc<Shared>) -> Self {
        let (closed, asked) = (Arc::new(signal::Sender::new(false)), Arc::new(signal::Sender::new(0)));
        Self { shared, faults: Faults::default(), closed, asked }
    }

    /// One more handle of the same data, with faults and an end of its own: as a second server has, or one that
    /// starts again.
    pub fn another(&self) -> Self {
        Self::handle(self.shared.clone())
    }

    /// The faults of this handle's calls and watches.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Whether a call may go on.
    fn check(&self) -> Result<(), Error> {
        if *self.closed.borrow() { Err(Error::Closed) } else { self.faults.check_reachable() }
    }

    fn check_size(&self, bytes: usize) -> Result<(), Error> {
        let limit = self.shared.config.limit_bytes;
        if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    /// One write with the faults planned for it.
    async fn write<T>(&self, work: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        let fault = self.faults.before_write().await?;
        self.check()?;
        let done = self.shared.change(work)?;
        self.faults.after_write(fault).await?;
        Ok(done)
    }
}

#[async_trait]
impl Store for Memory {
    async fn revision(&self) -> Result<Revision, Error> {
        self.check()?;
        Ok(self.shared.state().revision())
    }

    fn is_shared(&self) -> bool {
        self.shared.config.shared
    }

    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), Error> {
        self.check()?;
        let state = self.shared.state();
        Ok((state.get(key).cloned(), state.revision()))
    }

    async fn list(&self, range: ListRange) -> Result<ListPage, Error> {
        self.check()?;
        self.shared.state().list(&range)
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
    ) -> Result<KeyValue, Error> {
        self.check_size(key.len() + value.len())?;
        let lease_ms = self.shared.config.lease_s.max(1).saturating_mul(1000);
        self.write(|state| state.put(key, value, expect, ttl_s, lease_ms)).await
    }

    async fn delete(&self, key: &str, expect: Expect, wanted: Previous) -> Result<Deletion, Error> {
        self.check_size(key.len())?;
        self.write(|state| {
            let previous = state.delete(key, expect)?;
            let existed = previous.is_some();
            let previous = previous.filter(|_| wanted == Previous::Wanted);
            Ok(Deletion { existed, previous, revision: state.revision() })
        })
        .await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.check()?;
        watch::start(self, prefix, after)
    }

    async fn request_progress(&self) -> Result<(), Error> {
        self.check()?;
        self.asked.send_modify(|asked| *asked += 1);
        Ok(())
    }

    async fn moment(&self, time_ms: u64) -> Result<Moment, Error> {
        self.check()?;
        self.shared.state().moment(time_ms)
    }

    async fn oldest(&self) -> Result<Moment, Error> {
        self.check()?;
        Ok(self.shared.state().oldest())
    }

    async fn versions(&self, key: &str, limit: usize) -> Result<Versions, Error> {
        self.check()?;
        Ok(self.shared.state().versions(key, limit))
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.check()?;
        self.shared.state().compact(revision)
    }

    async fn size_bytes(&self) -> Result<u64, Error> {
        self.check()?;
        Ok(self.shared.state().size_bytes())
    }

    async fn close(&self) -> Result<(), Error> {
        self.closed.send_replace(true);
        Ok(())
    }
}
