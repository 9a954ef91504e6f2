//! The background server as a process: its pid file, safe against reuse of process ids, and ending it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::durable::write_durably;

/// A process, told apart from a later one with the same id by when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    pub pid: i32,
    /// Clock ticks after boot, from `/proc/PID/stat`.
    pub start_ticks: u64,
}

impl ProcessRecord {
    /// This process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own() -> Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let start_ticks = start_ticks(pid).context("reading /proc/self/stat")?;
        Ok(Self { pid, start_ticks })
    }

    /// The process a pid file names, if that very process still runs.
    pub fn running(pid_file: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(pid_file).ok()?).ok()?;
        (start_ticks(record.pid)? == record.start_ticks).then_some(record)
    }

    /// Writes the pid file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, pid_file: &Path) -> Result<()> {
        write_durably(pid_file, &serde_json::to_vec(self)?, 0o644)
    }

    /// A handle on the process that cannot come to mean another one; `None` when it has ended.
    pub fn open(&self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        (start_ticks(self.pid)? == self.start_ticks).then_some(handle)
    }

    /// Sends the process a signal that it waits for; whether it did. A process that does not wait for it is left alone,
    /// since most signals end such a process.
    ///
    /// # Errors
    /// When the process cannot be looked at or signalled.
    pub fn tell(&self, signal: Signal) -> Result<bool> {
        let Some(handle) = self.open() else { return Ok(false) };
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        if !waits_for(&status, signal) {
            return Ok(false);
        }
        pidfd_send_signal(&handle, signal).context("telling the server")?;
        Ok(true)
    }

    /// Asks the process to stop and, if it has not after `patience`, kills it. Returns once it is gone.
    ///
    /// # Errors
    /// When it cannot be signalled, or does not even die.
    pub fn end(&self, patience: Duration) -> Result<()> {
        let Some(handle) = self.open() else { return Ok(()) };
        pidfd_send_signal(&handle, Signal::TERM).context("asking the server to stop")?;
        if ended_within(&handle, patience) {
            return Ok(());
        }
        pidfd_send_signal(&handle, Signal::KILL).context("killing the server")?;
        if ended_within(&handle, Duration::from_secs(10)) {
            return Ok(());
        }
        anyhow::bail!("process {} does not end", self.pid)
    }
}

/// Waits for the end of the process behind a pidfd; whether it came in time.
pub fn ended_within(handle: &OwnedFd, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).ok();
    let mut fds = [PollFd::new(handle, PollFlags::IN)];
    matches!(poll(&mut fds, timeout.as_ref()), Ok(n) if n > 0)
}

/// Whether a process with this `/proc/PID/status` handles the signal (proc_pid_status(5), `SigCgt`).
fn waits_for(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)); the process's name, in brackets, may hold anything.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    // A zombie has ended already.
    let mut fields = after_name.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_pid_is_not_taken_for_the_server() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("pid");
        let own = ProcessRecord::own().expect("own record");
        own.write(&file).expect("written");
        assert_eq!(ProcessRecord::running(&file), Some(own.clone()));
        ProcessRecord { start_ticks: own.start_ticks + 1, ..own }.write(&file).expect("written");
        assert_eq!(ProcessRecord::running(&file), None);
    }

    #[test]
    fn only_who_waits_for_a_signal_is_told() {
        let status = "SigIgn:\t0000000000001000\nSigCgt:\t0000000100004202\n";
        assert!(waits_for(status, Signal::USR1) && waits_for(status, Signal::TERM));
        assert!(!waits_for(status, Signal::USR2) && !waits_for("", Signal::USR1));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a process");
        let pid = i32::try_from(child.id()).expect("a pid");
        let record = ProcessRecord { pid, start_ticks: start_ticks(pid).expect("running") };
        assert!(!record.tell(Signal::USR1).expect("looked at"), "it would end");
        assert!(child.try_wait().expect("a child").is_none());
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn a_process_that_ignores_the_request_is_killed() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do read x; done"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().expect("piped")),
            &mut line,
        )
        .expect("the shell is ready");
        let pid = i32::try_from(child.id()).expect("a pid");
        let record = ProcessRecord { pid, start_ticks: start_ticks(pid).expect("running") };
        record.end(Duration::from_millis(50)).expect("ended");
        assert!(child.wait().expect("reaped").code().is_none());
    }
}
