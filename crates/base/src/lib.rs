//! What every other crate stands on: time, randomness, back-off, shutdown and supervised tasks.
//!
//! Nothing here knows Kubernetes. Decisions elsewhere take time and randomness from these
//! traits, so that they can be tested without a clock.

pub mod backoff;
pub mod clock;
pub mod random;
pub mod shutdown;
pub mod supervise;

pub use clock::{Clock, ManualClock, SystemClock};
pub use shutdown::Shutdown;
pub use supervise::{Supervisor, TaskKind};
