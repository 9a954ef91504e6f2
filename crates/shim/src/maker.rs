//! Making a process of a container in a process of its own, which holds nothing of the shim's.
//!
//! Between its fork and its exec a container's process holds every descriptor of whoever forked it. Were that the shim,
//! a shim killed in this moment would leave its listening socket and connections with a process that never answers. The
//! maker closes them first, dies with the shim, and does all the OCI library's forking; what it made becomes the shim's
//! child, because the shim takes orphans in ([`take_in_orphans`]).

#![expect(unsafe_code, reason = "forks: the maker is a copy of the shim")]

use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::AssertUnwindSafe;

use rustix::process::{Pid, Signal, WaitOptions};

use crate::protocol::Failure;

/// The longest answer of a maker, in bytes; a pipe holds as much without anybody reading.
const MAX_ANSWER_BYTES: usize = 32 << 10;

/// Has processes whose parent ended become children of this one, so that it reaps them.
pub fn take_in_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Runs `work` in a fork that holds no descriptor but the standard ones and those of `keep`; the process that `work`
/// made, now a child of this one.
///
/// # Errors
/// What `work` failed with, or why there is no answer.
pub fn make(keep: &[RawFd], work: impl FnOnce() -> Result<i32, Failure>) -> Result<i32, Failure> {
    let other = |error: io::Error| Failure::Other(format!("cannot fork: {error}"));
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| other(e.into()))?;
    let shim = rustix::process::getpid();
    let pid = fork(0).map_err(other)?;
    if pid == 0 {
        become_maker(shim, keep, &write, work);
    }
    drop(write);
    wait(pid).map_err(other)?;
    // What it made may hold the other end for long: only what is there is read.
    let answer = available(&read).map_err(other)?;
    serde_json::from_slice(&answer)
        .unwrap_or_else(|_| Err(Failure::Other("the process that makes containers died".to_owned())))
}

/// `fork` with new namespaces for the child; 0 in the child. Only for a single-threaded process.
pub fn fork(namespaces: libc::c_int) -> io::Result<i32> {
    let flags = namespaces | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack given this is fork(2); this process has one thread, so the
    // child may run any code.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, 0, 0, 0) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(pid).map_err(io::Error::other)
}

/// In a fork: ends it when its parent ends, also when that has happened already.
pub fn die_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == Some(parent) {
        return Ok(());
    }
    Err(io::Error::other("the parent has ended"))
}

/// In a fork: closes every descriptor from 3 on but those to keep.
pub fn close_others(keep: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut first = 3;
    for fd in kept {
        close_range(first, fd.saturating_sub(1))?;
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: called in a fork that uses no descriptor it does not keep, and never runs their destructors.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process at once, without the exit handlers of the one it is a copy of.
pub fn leave(code: i32) -> ! {
    // SAFETY: takes a plain number and does not return.
    unsafe { libc::_exit(code) }
}

fn become_maker(
    shim: Pid,
    keep: &[RawFd],
    answer: &OwnedFd,
    work: impl FnOnce() -> Result<i32, Failure>,
) -> ! {
    let mut kept = keep.to_vec();
    kept.push(answer.as_raw_fd());
    let made = die_with(shim)
        .and_then(|()| close_others(&kept))
        .map_err(|e| Failure::Other(e.to_string()))
        .and_then(|()| {
            // The shim's code above this frame must not run a second time.
            std::panic::catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err(Failure::Other("making a container's process panicked".to_owned())))
        })
        .map_err(shortened);
    let text = serde_json::to_vec(&made).unwrap_or_default();
    // Nobody left to read means nobody left to tell.
    let written = rustix::io::write(answer, &text);
    leave(i32::from(written.is_err()));
}

/// A failure whose text fits into an answer.
fn shortened(failure: Failure) -> Failure {
    let short = |text: String| text.chars().take(MAX_ANSWER_BYTES / 8).collect::<String>();
    match failure {
        Failure::Payload(text) => Failure::Payload(short(text)),
        Failure::Other(text) => Failure::Other(short(text)),
        other => other,
    }
}

fn wait(pid: i32) -> io::Result<()> {
    loop {
        match rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn available(pipe: &OwnedFd) -> io::Result<Vec<u8>> {
    rustix::io::ioctl_fionbio(pipe, true)?;
    let mut answer = vec![0; MAX_ANSWER_BYTES];
    let mut pipe = std::fs::File::from(pipe.try_clone()?);
    let length = match pipe.read(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        read => read?,
    };
    answer.truncate(length);
    Ok(answer)
}
