//! Limits of a cgroup, as the files of either version hold them.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::CgroupMounts;

/// The period of CPU quotas where none is given, in microseconds.
const CPU_PERIOD_US: i64 = 100_000;

/// The limits to set; a zero or empty one stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The weight among siblings in version 1's measure, 2 to 262144.
    pub cpu_shares: i64,
    pub cpu_period_us: i64,
    /// Processor time in each period; negative for no limit.
    pub cpu_quota_us: i64,
    /// Negative for no limit.
    pub memory_bytes: i64,
    /// `0-3,7`
    pub cpuset_cpus: String,
    /// `0-1`
    pub cpuset_mems: String,
}

impl CgroupMounts {
    /// Sets `limits` on `cgroup`, where their controllers are mounted.
    ///
    /// # Errors
    /// The first limit that the kernel refuses, with its file.
    pub fn set_limits(&self, cgroup: &str, limits: &Limits) -> io::Result<()> {
        for (file, value) in self.limit_files(cgroup, limits) {
            fs::write(&file, &value).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot set {} to {value}: {error}", file.display()))
            })?;
        }
        Ok(())
    }

    /// As [`CgroupMounts::set_limits`], leaving out limits for which a version 2 kernel has no controller.
    ///
    /// # Errors
    /// As [`CgroupMounts::set_limits`].
    pub fn set_limits_available(&self, cgroup: &str, limits: &Limits) -> io::Result<()> {
        for (file, value) in self.limit_files(cgroup, limits) {
            if matches!(self, Self::V1 { .. }) || file.exists() {
                fs::write(file, value)?;
            }
        }
        Ok(())
    }

    /// The files that hold `limits` of `cgroup`, with the text to write to each.
    fn limit_files(&self, cgroup: &str, limits: &Limits) -> Vec<(PathBuf, String)> {
        let values = match self {
            Self::V1 { .. } => values_v1(limits),
            Self::V2(_) => values_v2(limits),
        };
        let set = [("cpuset.cpus", &limits.cpuset_cpus), ("cpuset.mems", &limits.cpuset_mems)];
        let sets = set.into_iter().filter(|(_, list)| !list.is_empty());
        let sets = sets.map(|(file, list)| ("cpuset", file, list.clone()));
        let in_dir = |(controller, file, value)| Some((self.dir(controller, cgroup)?.join(file), value));
        values.into_iter().chain(sets).filter_map(in_dir).collect()
    }
}

type Value = (&'static str, &'static str, String);

fn values_v1(limits: &Limits) -> Vec<Value> {
    let mut out = Vec::new();
    if limits.cpu_shares > 0 {
        out.push(("cpu", "cpu.shares", limits.cpu_shares.to_string()));
    }
    if limits.cpu_period_us > 0 {
        out.push(("cpu", "cpu.cfs_period_us", limits.cpu_period_us.to_string()));
    }
    if limits.cpu_quota_us != 0 {
        out.push(("cpu", "cpu.cfs_quota_us", limits.cpu_quota_us.to_string()));
    }
    if limits.memory_bytes != 0 {
        out.push(("memory", "memory.limit_in_bytes", limits.memory_bytes.to_string()));
    }
    out
}

fn values_v2(limits: &Limits) -> Vec<Value> {
    let or_max = |limit: i64| if limit < 0 { "max".to_owned() } else { limit.to_string() };
    let mut out = Vec::new();
    if limits.cpu_shares > 0 {
        out.push(("cpu", "cpu.weight", cpu_weight(limits.cpu_shares).to_string()));
    }
    if limits.cpu_quota_us != 0 {
        let period = if limits.cpu_period_us > 0 { limits.cpu_period_us } else { CPU_PERIOD_US };
        out.push(("cpu", "cpu.max", format!("{} {period}", or_max(limits.cpu_quota_us))));
    }
    if limits.memory_bytes != 0 {
        out.push(("memory", "memory.max", or_max(limits.memory_bytes)));
    }
    out
}

/// cgroup v2's weight (1…10000) for v1's shares (2…262144), as upstream and the OCI runtimes convert it.
fn cpu_weight(shares: i64) -> i64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9_999) / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        assert_eq!((cpu_weight(2), cpu_weight(1024), cpu_weight(262_144)), (1, 39, 10_000));
    }

    #[test]
    fn what_is_not_given_is_not_written() {
        let unified = CgroupMounts::V2("/c".into());
        assert_eq!(unified.limit_files("/a", &Limits::default()), []);
        let limits = Limits {
            cpu_quota_us: 50_000,
            memory_bytes: -1,
            cpuset_cpus: "0-1".to_owned(),
            ..Limits::default()
        };
        let files =
            [("/c/a/cpu.max", "50000 100000"), ("/c/a/memory.max", "max"), ("/c/a/cpuset.cpus", "0-1")];
        assert_eq!(
            unified.limit_files("/a", &limits),
            files.map(|(file, value)| (PathBuf::from(file), value.to_owned()))
        );
    }
}
