//! Descriptors as something that tokio waits on.

#![expect(unsafe_code, reason = "registers descriptors that the returned values own with tokio")]

use std::io;
use std::os::fd::OwnedFd;

use nft::Events;
use tokio::io::unix::AsyncFd;

/// Hears of changes from now on. Called in the runtime that is to wait.
pub(crate) fn subscribe() -> io::Result<AsyncFd<Events>> {
    // SAFETY: the events own their socket, always the same one, and close it only when dropped.
    unsafe { AsyncFd::register(Events::subscribe()?) }.map_err(io::Error::from)
}

/// Waits on a descriptor. Called in the runtime that is to wait.
pub(crate) fn watch(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the value owns the descriptor, and closes it only when dropped.
    unsafe { AsyncFd::register(file) }.map_err(io::Error::from)
}
