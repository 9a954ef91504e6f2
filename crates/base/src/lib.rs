//! What every other crate stands on: time, randomness, back-off, shutdown, supervised tasks, and
//! deleting what others have filled.
//!
//! Nothing here knows Kubernetes. Decisions elsewhere take time and randomness from these
//! traits, so that they can be tested without a clock.

pub mod backoff;
pub mod clock;
pub mod random;
pub mod remove;
pub mod shutdown;
pub mod supervise;

pub use clock::{Clock, ManualClock, SystemClock};
pub use remove::remove_tree;
pub use shutdown::Shutdown;
pub use supervise::{Supervisor, TaskKind};
