//! The shim: one small single-threaded process per pod, which forks what runs in the pod, owns its
//! stdio and exit codes, and goes on when the server stops, is killed or is replaced.
//!
//! Start at [`main`] (what `knarr shim` runs), then `pod` (what the shim holds) and `reactor` (its only
//! loop). `protocol` is all that server and shim share. A shim never decides when something runs: it does what
//! the server asks and reports what happened.

/// Says what went wrong in the shim's own log. On a full disk nothing is said: `eprintln!` would panic there,
/// and the shim must go on.
macro_rules! complain {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod children;
mod console;
mod container;
mod exec;
mod log;
mod mountpoints;
mod mounts;
mod pause;
mod payload;
mod pod;
pub(crate) mod protocol;
mod reactor;
mod stdio;
pub(crate) mod wire;

pub use pod::main;
