//! What is particular to the embedded backend: its file, kills, full disks.

mod damage;
mod faults;
mod kill;
mod privileged;

use std::path::Path;
use std::sync::Arc;

use base::{Clock, ManualClock};
use store::{Config, Embedded, Store};

use crate::{Backend, Timed};

/// An embedded store on a temporary folder and a clock that the test moves.
pub(crate) struct Fixture {
    pub folder: tempfile::TempDir,
    pub clock: ManualClock,
    pub store: Embedded,
}

impl Fixture {
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = ManualClock::new(crate::start());
        let mut config = config(folder.path(), clock.clone());
        change(&mut config);
        let store = Embedded::open(config).expect("a fresh store opens");
        Self { folder, clock, store }
    }
}

impl Timed for Fixture {
    const LEASE_S: i64 = 0;

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl Backend for Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    /// From the disk.
    async fn reopen(&mut self) {
        self.store.close().await.expect("the store closes");
        self.store =
            Embedded::open(config(self.folder.path(), self.clock.clone())).expect("the store opens again");
    }
}

pub fn config(folder: &Path, clock: impl Clock) -> Config {
    Config { clock: Arc::new(clock), ..Config::new(folder.join("data")) }
}
