//! Changes of tables as something that tokio waits on.

#![expect(unsafe_code, reason = "registers a descriptor that the returned value owns with tokio")]

use std::io;

use nft::Events;
use tokio::io::unix::AsyncFd;

/// Hears of changes from now on. Called in the runtime that is to wait.
pub(crate) fn subscribe() -> io::Result<AsyncFd<Events>> {
    // SAFETY: the events own their socket, always the same one, and close it only when dropped.
    unsafe { AsyncFd::register(Events::subscribe()?) }.map_err(io::Error::from)
}
