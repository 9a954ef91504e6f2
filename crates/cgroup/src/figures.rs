//! What the kernel counts of a cgroup beside its [`Usage`](crate::Usage): for whoever shows all there is.

use std::fs;
use std::path::Path;

use crate::CgroupMounts;
use crate::usage::{V1_UNLIMITED_BYTES, flat_value, number};

/// Counters and limits of one cgroup, children included. A value that the kernel doesn't give is none, and so is a limit
/// that is not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub cpu_user_ns: Option<u64>,
    pub cpu_system_ns: Option<u64>,
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled_ns: Option<u64>,
    pub cpu_shares: Option<u64>,
    pub cpu_period_us: Option<u64>,
    pub cpu_quota_us: Option<u64>,
    pub cache_bytes: Option<u64>,
    pub mapped_file_bytes: Option<u64>,
    pub max_usage_bytes: Option<u64>,
    /// How often a limit of memory was met.
    pub failures: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub memory_soft_limit_bytes: Option<u64>,
    /// Memory and swap together.
    pub swap_limit_bytes: Option<u64>,
    pub threads_max: Option<u64>,
    pub devices: Vec<Device>,
}

/// What was read from and written to a block device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
    pub reads: u64,
    pub writes: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

/// The kernel's unit of `cpuacct.stat`: USER_HZ is 100 on every architecture that containers run on.
const NS_PER_TICK: u64 = 10_000_000;

impl CgroupMounts {
    /// Reads the figures of `cgroup`; everything is none once it is gone.
    pub fn figures(&self, cgroup: &str) -> Figures {
        match self {
            Self::V1 { .. } => self.figures_v1(cgroup),
            Self::V2(_) => self.dir("memory", cgroup).map(|dir| figures_v2(&dir)).unwrap_or_default(),
        }
    }

    fn figures_v1(&self, cgroup: &str) -> Figures {
        let file = |controller: &str, name: &str| Some(self.dir(controller, cgroup)?.join(name));
        let one = |controller: &str, name: &str| number(&file(controller, name)?);
        let of = |controller: &str, name: &str, key: &str| flat_value(&file(controller, name)?, key);
        let limit = |name: &str| one("memory", name).filter(|bytes| *bytes < V1_UNLIMITED_BYTES);
        let ticks = |key: &str| of("cpuacct", "cpuacct.stat", key).map(|ticks| ticks * NS_PER_TICK);
        let text = |name: &str| file("blkio", name).and_then(|file| fs::read_to_string(file).ok());
        Figures {
            cpu_user_ns: ticks("user"),
            cpu_system_ns: ticks("system"),
            periods: of("cpu", "cpu.stat", "nr_periods"),
            throttled_periods: of("cpu", "cpu.stat", "nr_throttled"),
            throttled_ns: of("cpu", "cpu.stat", "throttled_time"),
            cpu_shares: one("cpu", "cpu.shares"),
            cpu_period_us: one("cpu", "cpu.cfs_period_us"),
            cpu_quota_us: one("cpu", "cpu.cfs_quota_us"),
            cache_bytes: of("memory", "memory.stat", "total_cache"),
            mapped_file_bytes: of("memory", "memory.stat", "total_mapped_file"),
            max_usage_bytes: one("memory", "memory.max_usage_in_bytes"),
            failures: one("memory", "memory.failcnt"),
            memory_limit_bytes: limit("memory.limit_in_bytes"),
            memory_soft_limit_bytes: limit("memory.soft_limit_in_bytes"),
            swap_limit_bytes: limit("memory.memsw.limit_in_bytes"),
            threads_max: one("pids", "pids.max"),
            devices: devices_v1(
                &text("blkio.throttle.io_serviced_recursive").unwrap_or_default(),
                &text("blkio.throttle.io_service_bytes_recursive").unwrap_or_default(),
            ),
        }
    }
}

fn figures_v2(dir: &Path) -> Figures {
    let one = |name: &str| number(&dir.join(name));
    let of = |name: &str, key: &str| flat_value(&dir.join(name), key);
    let us = |key: &str| of("cpu.stat", key).map(|us| us * 1000);
    let max = fs::read_to_string(dir.join("cpu.max")).unwrap_or_default();
    let mut max = max.split_whitespace().map(|word| word.parse().ok());
    let (quota, period) = (max.next().flatten(), max.next().flatten());
    let memory_limit_bytes = one("memory.max");
    let swap = one("memory.swap.max");
    Figures {
        cpu_user_ns: us("user_usec"),
        cpu_system_ns: us("system_usec"),
        periods: of("cpu.stat", "nr_periods"),
        throttled_periods: of("cpu.stat", "nr_throttled"),
        throttled_ns: us("throttled_usec"),
        // The way back of the conversion by which runtimes set weights.
        cpu_shares: one("cpu.weight").map(|weight| 2 + weight.saturating_sub(1) * 262_142 / 9_999),
        cpu_period_us: period,
        cpu_quota_us: quota,
        cache_bytes: of("memory.stat", "file"),
        mapped_file_bytes: of("memory.stat", "file_mapped"),
        max_usage_bytes: one("memory.peak"),
        failures: of("memory.events", "max"),
        memory_limit_bytes,
        memory_soft_limit_bytes: one("memory.low").filter(|bytes| *bytes > 0),
        swap_limit_bytes: memory_limit_bytes.zip(swap).map(|(memory, swap)| memory.saturating_add(swap)),
        threads_max: one("pids.max"),
        devices: devices_v2(&fs::read_to_string(dir.join("io.stat")).unwrap_or_default()),
    }
}

fn device_of(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()?, ..Device::default() })
}

/// `8:0 Read 5` a line, in a file for operations and one for bytes.
fn devices_v1(operations: &str, bytes: &str) -> Vec<Device> {
    let mut all: Vec<Device> = Vec::new();
    let lines = operations.lines().map(|line| (line, false)).chain(bytes.lines().map(|line| (line, true)));
    for (line, is_bytes) in lines {
        let mut words = line.split_whitespace();
        let (Some(named), Some(operation), Some(count)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let (Some(device), Ok(count)) = (device_of(named), count.parse::<u64>()) else { continue };
        let known = all.iter().position(|d| (d.major, d.minor) == (device.major, device.minor));
        let at = known.unwrap_or_else(|| {
            all.push(device);
            all.len() - 1
        });
        match (operation, is_bytes) {
            ("Read", false) => all[at].reads = count,
            ("Write", false) => all[at].writes = count,
            ("Read", true) => all[at].read_bytes = count,
            ("Write", true) => all[at].written_bytes = count,
            _ => {}
        }
    }
    all
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4` a line.
fn devices_v2(text: &str) -> Vec<Device> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let mut device = device_of(words.next()?)?;
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            match key {
                "rbytes" => device.read_bytes = value,
                "wbytes" => device.written_bytes = value,
                "rios" => device.reads = value,
                "wios" => device.writes = value,
                _ => {}
            }
        }
        Some(device)
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_each_version_writes_them() {
        let wanted =
            Device { major: 8, minor: 16, reads: 1, writes: 2, read_bytes: 512, written_bytes: 1024 };
        let operations = "8:16 Read 1\n8:16 Write 2\n8:16 Sync 3\n8:16 Total 3\nTotal 3\n";
        let bytes = "8:16 Read 512\n8:16 Write 1024\n8:16 Total 1536\nTotal 1536\nnonsense\n";
        assert_eq!(devices_v1(operations, bytes), std::slice::from_ref(&wanted));
        let text = "8:16 rbytes=512 wbytes=1024 rios=1 wios=2 dbytes=0 dios=0\n\nx:y rbytes=1\n";
        assert_eq!(devices_v2(text), [wanted]);
    }

    #[test]
    fn version_2_is_read_from_its_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        put(
            "cpu.stat",
            "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 3\nnr_throttled 1\nthrottled_usec 2\n",
        );
        put("cpu.max", "50000 100000\n");
        put("cpu.weight", "39\n");
        put("memory.max", "max\n");
        put("pids.max", "64\n");
        let seen = figures_v2(dir.path());
        assert_eq!(
            (seen.cpu_user_ns, seen.cpu_system_ns, seen.throttled_ns),
            (Some(5000), Some(4000), Some(2000))
        );
        assert_eq!(
            (seen.cpu_quota_us, seen.cpu_period_us, seen.cpu_shares),
            (Some(50_000), Some(100_000), Some(998))
        );
        assert_eq!(
            (seen.memory_limit_bytes, seen.swap_limit_bytes, seen.threads_max),
            (None, None, Some(64))
        );
    }
}
