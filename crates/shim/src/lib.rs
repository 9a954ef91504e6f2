//! The shim: one small single-threaded process per pod, which forks what runs in the pod, owns its
//! stdio and exit codes, and goes on when the server stops, is killed or is replaced.
//!
//! Start at [`main`] (what `knarr shim` runs) in `reactor`, the only loop, then `pod` (what the shim holds). [`protocol`], [`wire`] and [`files`] are all that server and shim share: a shim that an older binary started
//! is found and served by a newer one, so their messages and files only ever gain optional parts. A shim never decides
//! when something runs: it does what the server asks and reports what happened. It has one thread, and with no
//! asynchronous runtime, TLS or HTTP among its dependencies (`tidy/absent.txt`) it can get no other.

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
pub mod files;
mod log;
mod maker;
mod mountpoints;
mod mounts;
mod pause;
mod payload;
mod pod;
pub mod protocol;
mod reactor;
mod stdio;
pub mod wire;

pub use mounts::mount_overlay;
pub use reactor::main;
