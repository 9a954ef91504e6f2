//! Processes that nobody watches any more: found by their cgroup, ended by their pidfd, whatever files say.
//!
//! Everything a shim forks begins in the shim's own cgroup and moves to its container's. [`Engine::end_shim`] ends the
//! first, after which nothing can move any more, and then the cgroups of containers hold all that is left.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::time::Instant;

use super::Engine;
use shim::protocol::PID_FILE;

/// How long killed processes may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// Container ids and sandbox ids are so many hexadecimal digits.
const ID_DIGITS: usize = 64;

impl Engine {
    /// Ends whatever runs in `cgroup` and below it, and removes it.
    pub(super) async fn end_cgroup(&self, cgroup: &str) {
        let deadline = Instant::now() + KILL_PATIENCE;
        let mut ended = BTreeSet::new();
        // Processes that make others faster than they are found must not hold the engine for ever.
        while Instant::now() < deadline {
            let members = self.hierarchy.members(cgroup);
            let handles: Vec<(i32, OwnedFd)> =
                members.iter().filter_map(|pid| Some((*pid, open(*pid)?))).collect();
            // A number may have gone to another process before its handle was opened: one that is still a member is
            // the one that was listed, or another that is to end.
            let still = self.hierarchy.members(cgroup);
            let doomed = handles.into_iter().filter(|(pid, _)| still.contains(pid) && !ended.contains(pid));
            let doomed: Vec<(i32, OwnedFd)> = doomed.collect();
            if doomed.is_empty() {
                break;
            }
            for (pid, handle) in &doomed {
                // Already gone is what is wanted.
                let _ = rustix::process::pidfd_send_signal(handle, Signal::KILL);
                ended.insert(*pid);
            }
            for (pid, handle) in doomed {
                if !ends_before(handle, deadline).await {
                    tracing::warn!(pid, cgroup, "a process does not end");
                }
            }
        }
        if let Err(error) = self.hierarchy.remove_all(cgroup) {
            tracing::warn!(cgroup, %error, "a cgroup is left behind");
        }
    }

    /// Ends the shim of a sandbox with all that it has not yet moved to a container's cgroup.
    pub(super) async fn end_shim(&self, sandbox_id: &str, dir: &Path) {
        kill_by_file(dir).await;
        self.end_cgroup(&self.config.shim_cgroup(sandbox_id)).await;
    }

    /// The cgroups of shims and containers that are none of `live`, sandboxes' and containers' ids.
    pub(super) fn forgotten_cgroups(&self, live: &BTreeSet<String>) -> Vec<String> {
        let shims = self.config.shims_cgroup();
        let of_shims = self.hierarchy.children(&shims).into_iter().map(|id| format!("{shims}/{id}"));
        let mut found: Vec<String> = of_shims.collect();
        let mut open = vec![self.config.cgroup_parent.trim_end_matches('/').to_owned()];
        while let Some(parent) = open.pop() {
            let children =
                self.hierarchy.children(&parent).into_iter().map(|name| format!("{parent}/{name}"));
            // What containers make below their own cgroup belongs to them.
            let (containers, others): (Vec<_>, Vec<_>) = children.partition(|path| is_id(last(path)));
            found.extend(containers);
            open.extend(others.into_iter().filter(|path| *path != shims));
        }
        found.retain(|path| is_id(last(path)) && !live.contains(last(path)));
        found
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn is_id(name: &str) -> bool {
    name.len() == ID_DIGITS && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn open(pid: i32) -> Option<OwnedFd> {
    // Not there any more is what is waited for.
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()
}

async fn ends_before(handle: OwnedFd, deadline: Instant) -> bool {
    let ended = async {
        let handle = crate::readiness::watch(handle)?;
        handle.readable().await.map(drop)
    };
    matches!(tokio::time::timeout_at(deadline, ended).await, Ok(io::Result::Ok(())))
}

/// Kills the shim whose number stands in `dir`, if it still works there: those that older servers started share a cgroup.
async fn kill_by_file(dir: &Path) {
    let pid = fs::read_to_string(dir.join(PID_FILE)).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let Some((pid, handle)) = pid.and_then(|pid| Some((pid, open(pid)?))) else { return };
    // The number may have gone to another process since; what the handle names cannot change any more.
    let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
    if !cwd.is_ok_and(|cwd| fs::canonicalize(dir).is_ok_and(|dir| dir == cwd)) {
        return;
    }
    // Already gone is what is wanted.
    let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
    if !ends_before(handle, Instant::now() + KILL_PATIENCE).await {
        tracing::warn!(pid, "a shim does not end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_other_names() {
        assert!(is_id(&"0123456789abcdef".repeat(4)));
        for other in ["kubepods", "besteffort", "shims", "pod1", &"A".repeat(64), &"a".repeat(63)] {
            assert!(!is_id(other), "{other}");
        }
        assert_eq!(last("/a/b"), "b");
    }
}
