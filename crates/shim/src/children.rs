//! Processes the shim started: a handle to wait on for each, and one place that reaps.

#![expect(unsafe_code, reason = "sends signals through a pidfd, which has no safe call with a number")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus};

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

    /// Sends the signal of this number, real-time ones too; fine when the process has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: plain numbers, an open descriptor and no structure (pidfd_send_signal(2)); the kernel refuses
        // what is no signal.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.handle.as_raw_fd(), signal, none, 0) };
        if sent == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Reaps every child that has ended, also those that are not watched (a process whose start failed
/// stays a zombie in the container's PID namespace and would keep its init from ending).
pub fn reap() -> Vec<(i32, i32)> {
    let mut ended = Vec::new();
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                ended.extend(exit_code(status).map(|code| (pid.as_raw_nonzero().get(), code)));
            }
            Ok(None) | Err(rustix::io::Errno::CHILD) => return ended,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                complain!("cannot reap children: {errno}");
                return ended;
            }
        }
    }
}

/// The exit code, 128 + the signal's number (real-time ones too) where one killed the process.
fn exit_code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "it is waited for by its number")]
    fn real_time_signals_are_sent_and_their_victims_reaped() {
        let signal = libc::SIGRTMIN() + 3;
        let victim = std::process::Command::new("sleep").arg("1000").spawn().expect("started");
        let child = Child::watch(i32::try_from(victim.id()).expect("a process id")).expect("watched");
        child.signal(signal).expect("sent");
        let mut fds = [rustix::event::PollFd::new(&child, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).expect("polled");
        // Not `reap`, which would take other tests' children too.
        let (_, status) = rustix::process::waitpid(Pid::from_raw(child.pid), WaitOptions::empty())
            .expect("reaped")
            .expect("ended");
        assert_eq!(exit_code(status), Some(128 + signal));
        child.signal(libc::SIGKILL).expect("one that has ended needs no signal");
    }
}
