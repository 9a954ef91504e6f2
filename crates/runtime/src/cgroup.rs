//! cgroups of either version, by their path below the controllers' roots (`/kubepods/pod1/c1`).
//!
//! Start at [`Hierarchy::detect`]. Creating a container's cgroup is the OCI library's part; here are
//! membership, killing, removal, OOM counts, limits that change, and (in `stats`) usage.

mod limits;
mod stats;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use stats::Usage;

/// How cgroups are mounted on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// A mount for each controller (`memory` → `/sys/fs/cgroup/memory`).
    V1(BTreeMap<String, PathBuf>),
    /// One mount.
    V2(PathBuf),
}

/// v1 controllers that containers are put into.
const CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "perf_event",
    "net_cls",
    "net_prio",
];

impl Hierarchy {
    /// Reads the mounts of this process.
    ///
    /// # Errors
    /// When the mounts can't be read or hold no cgroup.
    pub fn detect() -> io::Result<Self> {
        Self::from_mounts(&fs::read_to_string("/proc/self/mounts")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup file system is mounted"))
    }

    fn from_mounts(mounts: &str) -> Option<Self> {
        let mut v1 = BTreeMap::new();
        let mut v2 = None;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            match kind {
                "cgroup2" => v2 = v2.or(Some(PathBuf::from(point))),
                "cgroup" => {
                    for option in options.split(',').filter(|o| CONTROLLERS.contains(o)) {
                        v1.entry(option.to_owned()).or_insert_with(|| PathBuf::from(point));
                    }
                }
                _ => {}
            }
        }
        // A hybrid machine has its controllers in version 1.
        if v1.is_empty() { v2.map(Self::V2) } else { Some(Self::V1(v1)) }
    }

    /// The directory of `cgroup` under a v1 controller (ignored in v2); none where it isn't mounted.
    pub fn dir(&self, controller: &str, cgroup: &str) -> Option<PathBuf> {
        let relative = cgroup.trim_start_matches('/');
        match self {
            Self::V1(mounts) => mounts.get(controller).map(|m| m.join(relative)),
            Self::V2(mount) => Some(mount.join(relative)),
        }
    }

    /// Every directory that makes up `cgroup`.
    pub fn dirs(&self, cgroup: &str) -> Vec<PathBuf> {
        let relative = cgroup.trim_start_matches('/');
        match self {
            Self::V1(mounts) => {
                let mut dirs: Vec<PathBuf> = mounts.values().map(|m| m.join(relative)).collect();
                dirs.dedup();
                dirs
            }
            Self::V2(mount) => vec![mount.join(relative)],
        }
    }

    /// Puts process `pid` into `cgroup` of the controllers named (all of v2), making it where needed.
    pub fn join(&self, cgroup: &str, pid: u32, controllers: &[&str]) -> io::Result<()> {
        let dirs = match self {
            Self::V1(_) => controllers.iter().filter_map(|c| self.dir(c, cgroup)).collect(),
            Self::V2(_) => self.dirs(cgroup),
        };
        for dir in dirs {
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// The processes in `cgroup` itself; none when it doesn't exist.
    pub fn processes(&self, cgroup: &str) -> Vec<i32> {
        let Some(dir) = self.dir("pids", cgroup).or_else(|| self.dirs(cgroup).into_iter().next()) else {
            return Vec::new();
        };
        let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        listed.lines().filter_map(|l| l.parse().ok()).collect()
    }

    /// Sends SIGKILL to every process in `cgroup` itself; true when there was one.
    pub fn kill(&self, cgroup: &str) -> bool {
        if let Self::V2(mount) = self {
            let dir = mount.join(cgroup.trim_start_matches('/'));
            let populated =
                fs::read_to_string(dir.join("cgroup.events")).unwrap_or_default().contains("populated 1");
            if populated && fs::write(dir.join("cgroup.kill"), "1").is_ok() {
                return true;
            }
        }
        let processes = self.processes(cgroup);
        for pid in processes.iter().filter_map(|p| rustix::process::Pid::from_raw(*p)) {
            // Already gone is what is wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        !processes.is_empty()
    }

    /// Sends `signal` to every process in `cgroup` itself.
    pub fn signal(&self, cgroup: &str, signal: rustix::process::Signal) {
        for pid in self.processes(cgroup).into_iter().filter_map(rustix::process::Pid::from_raw) {
            // Already gone is fine: nobody is left to be told.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Removes the (empty) directories of `cgroup`; those that hold processes or children stay.
    pub fn remove(&self, cgroup: &str) -> io::Result<()> {
        let mut failed = None;
        for dir in self.dirs(cgroup) {
            match fs::remove_dir(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// How many processes of `cgroup` the kernel has killed for lack of memory.
    pub fn oom_kills(&self, cgroup: &str) -> u64 {
        let file = match self {
            Self::V1(_) => "memory.oom_control",
            Self::V2(_) => "memory.events",
        };
        let Some(dir) = self.dir("memory", cgroup) else { return 0 };
        flat_value(&dir.join(file), "oom_kill").unwrap_or(0)
    }
}

/// `key value` in a flat keyed file.
fn flat_value(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A file with one number; none for `max` or when unreadable.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_machines_use_version_1() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup /sys/fs/cgroup/x cgroup rw,memory,pids 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = Hierarchy::from_mounts(mounts).expect("cgroups are mounted");
        assert_eq!(found.dir("pids", "/a/b"), Some(PathBuf::from("/sys/fs/cgroup/x/a/b")));
        assert_eq!(found.dir("hugetlb", "/a"), None);
    }

    #[test]
    fn a_pure_version_2_machine_has_one_directory() {
        let found =
            Hierarchy::from_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n").expect("cgroups are mounted");
        assert_eq!(found.dirs("/a"), [PathBuf::from("/sys/fs/cgroup/a")]);
    }
}
