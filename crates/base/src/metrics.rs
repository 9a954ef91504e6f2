//! The figures of one process: each part registers its own, and all are shown together.
//!
//! Start with [`Metrics`]. `exposition` writes them in the two formats that scrapers read, `process` has what the
//! kernel says of the process, `strict` is the reader that tests hold the output against.
//!
//! Never here: a name of Kubernetes; a global registry.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::registry::Registry;

mod exposition;
mod label;
mod process;
pub mod strict;

pub use exposition::Format;
pub use label::Escaped;

type Refresh = Box<dyn Fn() + Send + Sync>;

/// The registry of a process. Clones share it.
#[derive(Clone, Default)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    registry: Mutex<Registry>,
    refreshes: Mutex<Vec<Refresh>>,
}

impl Metrics {
    /// Adds a part's metrics. Names without `_total`: that is added to counters where they are shown.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut lock(&self.inner.registry));
    }

    /// Adds the kernel's figures of this process: CPU time, memory, open files, start.
    pub fn register_process(&self) {
        self.register(|registry| registry.register_collector(Box::new(process::Process)));
    }

    /// Calls `refresh` before each rendering: for figures that are only known by looking.
    pub fn before_render(&self, refresh: impl Fn() + Send + Sync + 'static) {
        lock(&self.inner.refreshes).push(Box::new(refresh));
    }

    /// The text of all metrics, to be sent as [`Format::content_type`].
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self, format: Format) -> Result<String, fmt::Error> {
        for refresh in lock(&self.inner.refreshes).iter() {
            refresh();
        }
        exposition::render(&lock(&self.inner.registry), format)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
