//! Processes the shim started: a handle to wait on for each, and one place that reaps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::process::{Pid, PidfdFlags};

/// A started process; readable once it has ended.
pub struct Child {
    pub pid: i32,
    handle: OwnedFd,
}

impl Child {
    /// Takes charge of `pid`, a child of this process that has not been reaped.
    pub fn watch(pid: i32) -> io::Result<Self> {
        let raw = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self { pid, handle: rustix::process::pidfd_open(raw, PidfdFlags::empty())? })
    }

    /// Sends `signal`; fine when the process has ended.
    pub fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.handle, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Reaps every child that has ended, also those nobody watches (a process whose start failed stays a
/// zombie in the container's PID namespace and would keep its init from ending).
pub fn reap() -> Vec<(i32, i32)> {
    let mut ended = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => ended.push((pid.as_raw(), code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => ended.push((pid.as_raw(), 128 + signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return ended,
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                complain!("cannot reap children: {errno}");
                return ended;
            }
        }
    }
}
