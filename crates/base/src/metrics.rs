//! The figures of one process: each part registers its own, and all are shown together.
//!
//! Start with [`Metrics`]. `exposition` writes them in the two formats that scrapers read, `process` has what the
//! kernel says of the process, `strict` is the reader that tests hold the output against.
//!
//! Never here: a name of Kubernetes; a global registry.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// Registries that are shown with this one while somebody holds them.
    parts: Mutex<Vec<Weak<Inner>>>,
}

impl Metrics {
    /// Adds a part's metrics. Names without `_total`: that is added to counters where they are shown.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut lock(&self.inner.registry));
    }

    /// A registry whose metrics are shown with these until its last clone is dropped: for parts of the process that end
    /// before it, and may begin anew.
    pub fn part(&self) -> Self {
        let part = Self::default();
        let mut parts = lock(&self.inner.parts);
        parts.retain(|part| part.strong_count() > 0);
        parts.push(Arc::downgrade(&part.inner));
        part
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
        let parts: Vec<_> = lock(&self.inner.parts).iter().filter_map(Weak::upgrade).collect();
        let mut open = String::new();
        for part in std::iter::once(&self.inner).chain(&parts) {
            for refresh in lock(&part.refreshes).iter() {
                refresh();
            }
            exposition::encode(&mut open, &lock(&part.registry))?;
        }
        exposition::render(open, format)
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

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_part_is_shown_as_long_as_it_lasts() {
        let process = Metrics::default();
        process.register(|registry| registry.register("own", "Of the process", <Counter>::default()));
        for _ in 0..2 {
            let part = process.part();
            part.register(|registry| registry.register("parts", "Of a part", <Counter>::default()));
            let shown = process.render(Format::Prometheus).expect("text");
            assert_eq!(shown.matches("\nparts_total 0").count(), 1, "{shown}");
            let open = process.render(Format::OpenMetrics).expect("text");
            assert!(open.ends_with("# EOF\n") && open.matches("# EOF").count() == 1, "{open}");
        }
        let shown = process.render(Format::Prometheus).expect("text");
        assert!(shown.contains("own_total 0") && !shown.contains("parts"), "{shown}");
    }
}
