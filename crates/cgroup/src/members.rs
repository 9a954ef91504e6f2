//! The processes of a cgroup: joining, listing, signalling, and how many the kernel has killed.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::process::{Pid, Signal, kill_process};

use crate::CgroupMounts;
use crate::tree::subtree;
use crate::usage::flat_value;

impl CgroupMounts {
    /// Puts process `pid` into `cgroup` of the controllers named (all of v2), making it where needed.
    pub fn join(&self, cgroup: &str, pid: u32, controllers: &[&str]) -> io::Result<()> {
        let dirs = match self {
            Self::V1 { .. } => controllers.iter().filter_map(|c| self.dir(c, cgroup)).collect(),
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

    /// The processes in `cgroup` and below it, under any controller; none when it doesn't exist.
    pub fn members(&self, cgroup: &str) -> BTreeSet<i32> {
        let mut members = BTreeSet::new();
        for dir in self.trees(cgroup).iter().filter(|dir| dir.exists()).flat_map(|dir| subtree(dir)) {
            let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            members.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        members
    }

    /// Sends SIGKILL to every process in `cgroup` itself; true when there was one.
    pub fn kill(&self, cgroup: &str) -> bool {
        if let (Self::V2(_), Some(dir)) = (self, self.dir("", cgroup)) {
            let populated =
                fs::read_to_string(dir.join("cgroup.events")).unwrap_or_default().contains("populated 1");
            if populated && fs::write(dir.join("cgroup.kill"), "1").is_ok() {
                return true;
            }
        }
        let processes = self.processes(cgroup);
        for pid in processes.iter().filter_map(|p| Pid::from_raw(*p)) {
            // Already gone is what is wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
        !processes.is_empty()
    }

    /// Sends `signal` to every process in `cgroup` itself.
    pub fn signal(&self, cgroup: &str, signal: Signal) {
        for pid in self.processes(cgroup).into_iter().filter_map(Pid::from_raw) {
            // Already gone is fine: nobody is left to be told.
            let _ = kill_process(pid, signal);
        }
    }

    /// How many processes of `cgroup` the kernel has killed for lack of memory.
    pub fn oom_kills(&self, cgroup: &str) -> u64 {
        let file = match self {
            Self::V1 { .. } => "memory.oom_control",
            Self::V2(_) => "memory.events",
        };
        let Some(dir) = self.dir("memory", cgroup) else { return 0 };
        flat_value(&dir.join(file), "oom_kill").unwrap_or(0)
    }
}
