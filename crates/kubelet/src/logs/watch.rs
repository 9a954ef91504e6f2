//! Changes in folders, as the kernel reports them (inotify), for async code.

#![expect(unsafe_code, reason = "registers a descriptor that the returned value owns with tokio")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

struct Pollable(Inotify);

impl AsRawFd for Pollable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    pub watch: WatchDescriptor,
    pub mask: AddWatchFlags,
    /// The name within the watched folder.
    pub name: Option<OsString>,
}

impl From<InotifyEvent> for Event {
    fn from(event: InotifyEvent) -> Self {
        Self { watch: event.wd, mask: event.mask, name: event.name }
    }
}

/// Watches folders.
pub struct FolderWatch(AsyncFd<Pollable>);

impl FolderWatch {
    /// # Errors
    /// When the kernel's limit of inotify instances is reached.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        // SAFETY: `Pollable` owns its descriptor, gives always the same one and closes it only when dropped.
        let watched = unsafe { AsyncFd::register(Pollable(inotify)) };
        Ok(Self(watched.map_err(|e| e.into_parts().1)?))
    }

    /// Watches `folder` for the events of `mask`.
    ///
    /// # Errors
    /// When the folder is not there or the kernel's limit of watches is reached.
    pub fn add(&self, folder: &Path, mask: AddWatchFlags) -> io::Result<WatchDescriptor> {
        Ok(self.0.get_ref().0.add_watch(folder, mask)?)
    }

    /// Waits until something may have happened, without taking it. Cancellation safe.
    ///
    /// # Errors
    /// When the runtime is going down.
    pub async fn happened(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// What has happened so far, which may be nothing: after a read it is not known whether there is more, so
    /// [`FolderWatch::happened`] may say so once too often.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take(&self) -> io::Result<Vec<Event>> {
        let read = |fd: &Pollable| fd.0.read_events().map_err(io::Error::from);
        match self.0.try_io(Interest::READABLE, read) {
            Ok(events) => Ok(events.into_iter().map(Event::from).collect()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Everything that has happened; waits for something. Cancellation safe.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn next(&self) -> io::Result<Vec<Event>> {
        loop {
            let mut guard = self.0.readable().await?;
            let read = guard.try_io(|fd| fd.get_ref().0.read_events().map_err(io::Error::from));
            if let Ok(events) = read {
                return Ok(events?.into_iter().map(Event::from).collect());
            }
        }
    }
}
