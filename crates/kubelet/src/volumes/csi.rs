//! Volumes of drivers (CSI): a driver of the node mounts them, this module tells it what, where and when.
//!
//! Start at [`Csi::set_up`] and [`Csi::tear_down`]. [`asked`] says what a pod's volume asks of its driver and [`terms`] how the
//! driver wants to be treated (both pure); [`calls`] are the driver's. What is mounted is known by files beside the mounts
//! ([`record`]), in upstream's layout: whoever is killed finds everything again, and a volume is forgotten only after
//! the driver has let go of it.

pub mod asked;
mod attachment;
mod calls;
pub mod expansion;
mod figures;
pub mod in_use;
pub mod mounter;
mod publication;
pub mod record;
mod republication;
pub mod terms;
mod unmounter;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use base::Clock;
use informer::Cache;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::CSIDriver;
use kube::Client;
use tokio::sync::Mutex as AsyncMutex;

use super::PodDirs;
use super::tokens::Tokens;
use crate::plugins::Drivers;
pub use in_use::InUse;

/// What the volumes of drivers are made with.
pub struct Deps {
    pub client: Client,
    /// The node's name.
    pub node: String,
    pub dirs: PodDirs,
    pub drivers: Drivers,
    /// What the API says of drivers, and of this node.
    pub terms: Cache<CSIDriver>,
    pub own_node: Cache<Node>,
    pub in_use: InUse,
    pub clock: Arc<dyn Clock>,
}

/// A driver's volume.
type Key = (String, String);

/// See the module's documentation.
pub struct Csi {
    deps: Deps,
    tokens: Tokens,
    /// One thing at a time happens to a volume, whichever pods it is for.
    turns: Mutex<HashMap<Key, Weak<AsyncMutex<()>>>>,
    /// Where volumes were staged since the agent began.
    staged: Mutex<HashSet<PathBuf>>,
    /// Volumes that their drivers do not expand while they are used here.
    unexpandable: Mutex<HashSet<Key>>,
    /// What is published again.
    agenda: republication::Agenda,
}

impl Csi {
    pub fn new(deps: Deps) -> Self {
        let tokens = Tokens::new(deps.client.clone(), deps.clock.clone());
        Self {
            deps,
            tokens,
            turns: Mutex::default(),
            staged: Mutex::default(),
            unexpandable: Mutex::default(),
            agenda: republication::Agenda::default(),
        }
    }

    /// The order of what happens to a volume.
    fn turn(&self, driver: &str, handle: &str) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(|e| e.into_inner());
        turns.retain(|_, turn| turn.strong_count() > 0);
        let slot = turns.entry((driver.to_owned(), handle.to_owned())).or_default();
        if let Some(turn) = slot.upgrade() {
            return turn;
        }
        let turn = Arc::new(AsyncMutex::new(()));
        *slot = Arc::downgrade(&turn);
        turn
    }

    /// Notes whether a volume is staged at a place. A handle may have several: that of a device is called after the
    /// persistent volume.
    fn note_staged(&self, staging: &Path, is: bool) {
        let mut staged = self.staged.lock().unwrap_or_else(|e| e.into_inner());
        if is {
            staged.insert(staging.to_owned());
        } else {
            staged.remove(staging);
        }
    }

    /// Notes that a driver does not expand a volume while it is used here.
    fn note_refusal(&self, driver: &str, handle: &str) {
        let mut refused = self.unexpandable.lock().unwrap_or_else(|e| e.into_inner());
        refused.insert((driver.to_owned(), handle.to_owned()));
    }

    /// The volume is not used here any more.
    fn forget_refusal(&self, driver: &str, handle: &str) {
        let mut refused = self.unexpandable.lock().unwrap_or_else(|e| e.into_inner());
        refused.remove(&(driver.to_owned(), handle.to_owned()));
    }

    fn is_refused(&self, driver: &str, handle: &str) -> bool {
        let refused = self.unexpandable.lock().unwrap_or_else(|e| e.into_inner());
        refused.contains(&(driver.to_owned(), handle.to_owned()))
    }

    fn is_staged(&self, staging: &Path) -> bool {
        self.staged.lock().unwrap_or_else(|e| e.into_inner()).contains(staging)
    }
}

#[cfg(test)]
#[path = "csi/tests.rs"]
mod privileged;
