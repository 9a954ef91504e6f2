//! The store's tests: a suite and a model that every backend is put to, and what is particular to each.

mod embedded;
mod etcd;
mod memory;
mod model;
mod suite;

use std::sync::Arc;

use base::ManualClock;
use store::Store;

/// A fresh store of one backend.
pub(crate) trait Backend: Sized {
    /// Whether changes that are on their way to a watch already are delivered after they have been compacted.
    const DELIVERS_COMPACTED: bool = false;

    fn new() -> Self;

    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again with the data it had.
    fn reopen(&mut self) -> impl Future<Output = ()>;
}

/// A backend under a clock that the test moves.
pub(crate) trait Timed: Backend {
    /// How much later than asked a key may expire.
    const LEASE_S: i64;

    fn clock(&self) -> &ManualClock;
}

/// The time at which tests begin.
pub(crate) fn start() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24)
}
