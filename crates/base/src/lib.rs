//! The foundation of all other crates: time, randomness, back-off, shutdown, supervised tasks, metrics,
//! deleting what others have filled, and collections that give their memory back.
//!
//! Nothing here knows Kubernetes. Without the feature `tasks` nothing here knows an asynchronous runtime either. Decisions elsewhere take time and randomness from these
//! traits, so that they can be tested without a clock.

pub mod backoff;
pub mod clock;
pub mod metrics;
pub mod random;
pub mod remove;
#[cfg(feature = "tasks")]
pub mod shutdown;
pub mod sparse;
#[cfg(feature = "tasks")]
pub mod supervise;

pub use clock::{Clock, ManualClock, SystemClock};
pub use metrics::Metrics;
pub use remove::remove_tree;
#[cfg(feature = "tasks")]
pub use shutdown::Shutdown;
pub use sparse::Sparse;
#[cfg(feature = "tasks")]
pub use supervise::{Supervisor, TaskKind};
