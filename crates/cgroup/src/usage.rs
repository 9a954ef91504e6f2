//! A cgroup's present resource usage.

use std::fs;
use std::path::Path;

use crate::CgroupMounts;

/// Usage of one cgroup, children included. A value that the kernel doesn't give is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_ns: Option<u64>,
    pub memory_bytes: Option<u64>,
    /// `memory_bytes` without the file cache that could be dropped at once.
    pub working_set_bytes: Option<u64>,
    pub rss_bytes: Option<u64>,
    pub page_faults: Option<u64>,
    pub major_page_faults: Option<u64>,
    /// None without a limit.
    pub memory_limit_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub processes: Option<u64>,
}

/// v1 shows "no limit" as the largest page-aligned number.
pub(crate) const V1_UNLIMITED_BYTES: u64 = 1 << 62;

impl CgroupMounts {
    /// Reads the usage of `cgroup`; everything is none once it is gone.
    pub fn usage(&self, cgroup: &str) -> Usage {
        match self {
            Self::V1 { .. } => self.usage_v1(cgroup).unwrap_or_default(),
            Self::V2(_) => self.usage_v2(cgroup).unwrap_or_default(),
        }
    }

    fn usage_v1(&self, cgroup: &str) -> Option<Usage> {
        let memory = self.dir("memory", cgroup)?;
        let stat = memory.join("memory.stat");
        let used = number(&memory.join("memory.usage_in_bytes"));
        let with_swap = number(&memory.join("memory.memsw.usage_in_bytes"));
        let inactive = flat_value(&stat, "total_inactive_file").unwrap_or(0);
        Some(Usage {
            cpu_ns: self.dir("cpuacct", cgroup).and_then(|d| number(&d.join("cpuacct.usage"))),
            memory_bytes: used,
            working_set_bytes: used.map(|u| u.saturating_sub(inactive)),
            rss_bytes: flat_value(&stat, "total_rss"),
            page_faults: flat_value(&stat, "total_pgfault"),
            major_page_faults: flat_value(&stat, "total_pgmajfault"),
            memory_limit_bytes: number(&memory.join("memory.limit_in_bytes"))
                .filter(|l| *l < V1_UNLIMITED_BYTES),
            swap_bytes: with_swap.zip(used).map(|(both, memory)| both.saturating_sub(memory)),
            processes: self.dir("pids", cgroup).and_then(|d| number(&d.join("pids.current"))),
        })
    }

    fn usage_v2(&self, cgroup: &str) -> Option<Usage> {
        let dir = self.dir("memory", cgroup)?;
        let stat = dir.join("memory.stat");
        let used = number(&dir.join("memory.current"));
        let inactive = flat_value(&stat, "inactive_file").unwrap_or(0);
        Some(Usage {
            cpu_ns: flat_value(&dir.join("cpu.stat"), "usage_usec").map(|us| us * 1000),
            memory_bytes: used,
            working_set_bytes: used.map(|u| u.saturating_sub(inactive)),
            rss_bytes: flat_value(&stat, "anon"),
            page_faults: flat_value(&stat, "pgfault"),
            major_page_faults: flat_value(&stat, "pgmajfault"),
            memory_limit_bytes: number(&dir.join("memory.max")),
            swap_bytes: number(&dir.join("memory.swap.current")),
            processes: number(&dir.join("pids.current")),
        })
    }
}

/// `key value` in a flat keyed file.
pub(crate) fn flat_value(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A file with one number; none for `max` or when unreadable.
pub(crate) fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
