//! Containers' logs: files in CRI's format, written by the runtime, read and rotated here.
//!
//! [`stream`](stream::stream) serves `kubectl logs`; [`rotation`] keeps files small. Both wait for
//! the kernel's notifications (inotify), never poll, and never change what the runtime writes.

pub mod line;
pub mod options;
pub mod reopen;
pub mod rotation;
pub mod stream;
pub mod tail;
pub(crate) mod watch;

pub use options::{LogOptions, Streams};
pub use tail::last_lines;
