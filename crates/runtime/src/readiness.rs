//! Descriptors that tokio waits on.

#![expect(unsafe_code, reason = "registers a descriptor that the returned value owns with tokio")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Has the runtime this is called in wait on `file`, which must be non-blocking to be of use.
pub fn watch(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the returned value, so it names the same open file until that is dropped.
    unsafe { AsyncFd::register(file) }.map_err(io::Error::from)
}
