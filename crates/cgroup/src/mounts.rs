//! How the machine's cgroups are mounted, and which directories make up one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How cgroups are mounted on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupMounts {
    /// A mount for each controller (`memory` → `/sys/fs/cgroup/memory`), and the mounts without one that
    /// containers are put into (`name=systemd`, the version 2 tree of a hybrid machine).
    V1 { controllers: BTreeMap<String, PathBuf>, others: Vec<PathBuf> },
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

/// The controllers that limit. A machine whose limiting controllers are all in version 2 is a version 2 machine,
/// even where a program has mounted another one (VPN clients mount `net_cls`) in version 1.
const LIMITING: [&str; 3] = ["cpu", "memory", "pids"];

impl CgroupMounts {
    /// Reads the mounts of this process.
    ///
    /// # Errors
    /// When the mounts can't be read or hold no cgroup.
    pub fn detect() -> io::Result<Self> {
        Self::from_mounts(&fs::read_to_string("/proc/self/mounts")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup file system is mounted"))
    }

    fn from_mounts(mounts: &str) -> Option<Self> {
        let (mut unified, mut controllers, mut others) = (None, BTreeMap::new(), Vec::new());
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let point = PathBuf::from(point);
            match kind {
                "cgroup2" => unified = unified.or(Some(point)),
                "cgroup" => {
                    let mut named = options.split(',').filter(|o| CONTROLLERS.contains(o)).peekable();
                    if named.peek().is_none() {
                        others.push(point);
                        continue;
                    }
                    for controller in named {
                        controllers.entry(controller.to_owned()).or_insert_with(|| point.clone());
                    }
                }
                _ => {}
            }
        }
        if !LIMITING.iter().any(|controller| controllers.contains_key(*controller)) && unified.is_some() {
            return unified.map(Self::V2);
        }
        if controllers.is_empty() {
            return None;
        }
        others.extend(unified);
        Some(Self::V1 { controllers, others })
    }

    /// The controllers that cgroups can be given: in version 2 the root lists them, in version 1 each is mounted.
    ///
    /// # Errors
    /// When the root's list can't be read.
    pub fn controllers(&self) -> io::Result<BTreeSet<String>> {
        match self {
            Self::V1 { controllers, .. } => Ok(controllers.keys().cloned().collect()),
            Self::V2(mount) => {
                let listed = fs::read_to_string(mount.join("cgroup.controllers"))?;
                Ok(listed.split_whitespace().map(str::to_owned).collect())
            }
        }
    }

    /// The directory of `cgroup` under a v1 controller (ignored in v2); none where it isn't mounted.
    pub fn dir(&self, controller: &str, cgroup: &str) -> Option<PathBuf> {
        match self {
            Self::V1 { controllers, .. } => controllers.get(controller).map(|mount| join(mount, cgroup)),
            Self::V2(mount) => Some(join(mount, cgroup)),
        }
    }

    /// The directories of `cgroup` under every controller.
    pub fn dirs(&self, cgroup: &str) -> Vec<PathBuf> {
        match self {
            Self::V1 { controllers, .. } => {
                let mut dirs: Vec<PathBuf> = controllers.values().map(|mount| join(mount, cgroup)).collect();
                dirs.dedup();
                dirs
            }
            Self::V2(mount) => vec![join(mount, cgroup)],
        }
    }

    /// The directories `cgroup` may have under every mount, those without a controller too.
    pub fn trees(&self, cgroup: &str) -> Vec<PathBuf> {
        let mut trees = self.dirs(cgroup);
        if let Self::V1 { others, .. } = self {
            trees.extend(others.iter().map(|mount| join(mount, cgroup)));
        }
        trees
    }
}

pub(crate) fn join(mount: &Path, cgroup: &str) -> PathBuf {
    mount.join(cgroup.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_machines_use_version_1() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/x cgroup rw,memory,pids 0 0\n\
                      cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = CgroupMounts::from_mounts(mounts).expect("cgroups are mounted");
        assert_eq!(found.dir("pids", "/a/b"), Some(PathBuf::from("/sys/fs/cgroup/x/a/b")));
        assert_eq!(found.dir("hugetlb", "/a"), None);
        let paths = |names: &[&str]| -> Vec<PathBuf> {
            names.iter().map(|name| Path::new("/sys/fs/cgroup").join(name).join("a")).collect()
        };
        assert_eq!(found.dirs("/a"), paths(&["cpu", "x"]));
        assert_eq!(found.trees("/a"), paths(&["cpu", "x", "systemd", "unified"]));
    }

    #[test]
    fn a_version_2_machine_has_one_directory() {
        let pure = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        let found = CgroupMounts::from_mounts(pure).expect("cgroups are mounted");
        assert_eq!(found.dirs("/a"), [PathBuf::from("/sys/fs/cgroup/a")]);
        assert_eq!(found.trees("/a"), found.dirs("/a"));
        let with_net_cls = format!("{pure}net_cls /opt/net_cls cgroup rw,net_cls 0 0\n");
        assert_eq!(CgroupMounts::from_mounts(&with_net_cls), Some(found));
        assert_eq!(CgroupMounts::from_mounts("proc /proc proc rw 0 0\n"), None);
    }
    #[test]
    fn controllers_are_mounted_or_listed() {
        let names =
            |found: &CgroupMounts| found.controllers().map(|names| names.into_iter().collect::<Vec<_>>());
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n";
        let found = CgroupMounts::from_mounts(mounts).expect("cgroups are mounted");
        assert_eq!(names(&found).expect("known"), ["cpu", "cpuacct"]);
        let dir = tempfile::tempdir().expect("a folder");
        let unified = CgroupMounts::V2(dir.path().to_owned());
        assert!(names(&unified).is_err(), "nothing is listed");
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu memory pids\n").expect("written");
        assert_eq!(names(&unified).expect("listed"), ["cpu", "cpuset", "memory", "pids"]);
    }
}
