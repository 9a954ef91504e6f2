//! The store's tests: a suite that any backend can be put to, and what is particular to the embedded one.

mod faults;
mod kill;
mod model;
mod privileged;
mod suite;

use std::path::Path;
use std::sync::Arc;

use base::{Clock, ManualClock};
use store::{Config, Embedded};

/// An embedded store on a temporary folder and a clock that the test moves.
pub(crate) struct Fixture {
    pub folder: tempfile::TempDir,
    pub clock: ManualClock,
    pub store: Embedded,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = ManualClock::new(jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24));
        let mut config = config(folder.path(), clock.clone());
        change(&mut config);
        let store = Embedded::open(config).expect("a fresh store opens");
        Self { folder, clock, store }
    }

    /// Closes the store and opens it again from the disk.
    pub async fn reopen(&mut self) {
        self.store.close().await.expect("the store closes");
        self.store =
            Embedded::open(config(self.folder.path(), self.clock.clone())).expect("the store opens again");
    }
}

pub fn config(folder: &Path, clock: impl Clock) -> Config {
    Config { clock: Arc::new(clock), ..Config::new(folder.join("data")) }
}
