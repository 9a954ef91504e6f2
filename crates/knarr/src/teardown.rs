//! Taking a cluster off the machine: its processes, mounts, cgroups, network and files outside the data
//! directory. Finds them from the kernel's state, and so also after every process was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::claims;
use crate::cluster;
use crate::layout::{Layout, MANIFESTS_DIR, MAX_NODES};
use crate::process::{ProcessRecord, ended_within};

/// How long the server may take to stop by itself.
const SERVER_PATIENCE: Duration = Duration::from_secs(10);
/// Rounds of killing: a process may fork while its siblings are being killed.
const KILL_ROUNDS: usize = 20;

/// Stops everything of the cluster and removes all but its data directory. `slot` tells which network is its
/// own. Repeatable: while something is left the cluster keeps its claim.
///
/// # Errors
/// Says what could not be removed; what comes after it is still tried.
pub fn tear_down(layout: &Layout, slot: Option<u8>) -> Result<()> {
    if let Some(server) = ProcessRecord::running(&layout.pid_file()) {
        server.end(SERVER_PATIENCE)?;
    }
    // Members end with their server, and yet may take their time.
    for index in 0..MAX_NODES {
        if let Some(member) = ProcessRecord::running(&layout.node(index).pid_file()) {
            member.end(SERVER_PATIENCE)?;
        }
    }
    let mut failures = Vec::new();
    let mut attempt = |what: &str, result: Result<()>| {
        if let Err(error) = result {
            failures.push(format!("{what}: {error:#}"));
        }
    };
    attempt("processes", kill_processes(layout));
    attempt("mounts", unmount_below(&[&layout.data_dir, &layout.run_dir]));
    attempt("cgroups", remove_cgroups(&layout.cgroup()));
    if let Some(slot) = slot {
        attempt("network", remove_network(slot));
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    claims::release(&layout.data_dir).context("address range")?;
    remove_files(layout).context("files")
}

/// The cluster's cgroup in each hierarchy of v1, or in the one of v2; none where there is no cgroup.
fn cgroup_roots(cgroup: &str) -> Vec<PathBuf> {
    cgroup::CgroupMounts::detect().map(|found| found.trees(cgroup)).unwrap_or_default()
}

/// The processes in the cluster's cgroups, and those that had no time to join one: they work in its folder.
fn processes(layout: &Layout) -> BTreeSet<i32> {
    let groups = cgroup_roots(&layout.cgroup());
    let mut pids: BTreeSet<i32> = BTreeSet::new();
    for dir in groups.iter().flat_map(|root| cgroup::subtree(root)) {
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let works_in = fs::read_link(entry.path().join("cwd"));
        // The kernel says ` (deleted)` after the name of a folder that is gone; what comes before matters.
        if works_in.is_ok_and(|dir| dir.starts_with(&layout.run_dir)) && is_shim(&entry.path()) {
            pids.insert(pid);
        }
    }
    pids.remove(&rustix::process::getpid().as_raw_nonzero().get());
    pids
}

/// Whether a process is a shim, and not a shell that somebody left in the cluster's folder.
fn is_shim(process: &Path) -> bool {
    let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).nth(1) == Some(b"shim")
}

fn kill_processes(layout: &Layout) -> Result<()> {
    for _ in 0..KILL_ROUNDS {
        let mut handles = Vec::new();
        for pid in processes(layout).into_iter().filter_map(Pid::from_raw) {
            if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) {
                // A process that ended in between needs no signal.
                let _ = pidfd_send_signal(&handle, Signal::KILL);
                handles.push((pid, handle));
            }
        }
        if handles.is_empty() {
            return Ok(());
        }
        for (pid, handle) in handles {
            if !ended_within(&handle, Duration::from_secs(10)) {
                bail!("process {} does not die", pid.as_raw_nonzero());
            }
        }
    }
    bail!("new processes keep appearing")
}

/// Unmounts everything below the given folders, latest mount first; not what is mounted at a folder itself,
/// for that is not the cluster's.
fn unmount_below(folders: &[&Path]) -> Result<()> {
    // The mount table knows no symbolic links.
    let folders: Vec<PathBuf> =
        folders.iter().map(|dir| fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf())).collect();
    let table = fs::read_to_string("/proc/self/mountinfo").context("reading the mount table")?;
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| folders.iter().any(|folder| point.starts_with(folder) && point != folder))
        .collect();
    points.reverse();
    for point in points {
        unmount(&point, UnmountFlags::DETACH).with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

/// Mount points stand in mountinfo with blanks and backslashes in octal (proc_pid_mountinfo(5)).
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(3).collect();
        let value = digits.iter().fold(0u32, |acc, d| acc * 8 + u32::from(d.wrapping_sub(b'0')));
        out.push(u8::try_from(value).unwrap_or(b'?'));
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(out))
}

fn remove_cgroups(cgroup: &str) -> Result<()> {
    cgroup_roots(cgroup).iter().try_for_each(|root| cgroup::remove_tree(root)).context("removing a cgroup")
}

fn remove_network(slot: u8) -> Result<()> {
    let cluster = cluster::at(slot);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (bridges, veths) = (cluster.bridge_prefix(), cluster.veth_prefix());
    runtime.block_on(cni::remove_cluster(&bridges, &veths, cluster.route_protocol()))?;
    Ok(())
}

fn remove_files(layout: &Layout) -> Result<()> {
    for path in [layout.run_dir.clone(), layout.admin_kubeconfig()] {
        let gone = if path.is_dir() { base::remove_tree(&path) } else { fs::remove_file(&path) };
        match gone {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    // What users have put there stays theirs.
    let _ = fs::remove_dir(layout.manifests_dir());
    let _ = fs::remove_dir(MANIFESTS_DIR);
    // Only when no other cluster keeps its kubeconfig there.
    let _ = fs::remove_dir("/etc/knarr");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_are_read_right() {
        assert_eq!(unescape("/a\\040b/c\\134d"), PathBuf::from("/a b/c\\d"));
    }
}
