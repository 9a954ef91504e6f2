//! Changing the limits of a cgroup that exists (a container resized while it runs).

use std::fs;
use std::io;
use std::path::Path;

use cri::v1::LinuxContainerResources;

use super::Hierarchy;

impl Hierarchy {
    /// Sets the limits that `wanted` names (a zero or empty one stays as it is) on `cgroup`.
    ///
    /// # Errors
    /// The first limit that the kernel refuses, with its file.
    pub fn set_limits(&self, cgroup: &str, wanted: &LinuxContainerResources) -> io::Result<()> {
        for (controller, file, value) in self.limit_files(wanted) {
            let Some(dir) = self.dir(controller, cgroup) else { continue };
            write_limit(&dir.join(file), &value)?;
        }
        Ok(())
    }

    fn limit_files(&self, wanted: &LinuxContainerResources) -> Vec<(&'static str, &'static str, String)> {
        let mut out = Vec::new();
        let mut set = |controller, file, value: String| out.push((controller, file, value));
        match self {
            Self::V1(_) => {
                if wanted.cpu_shares > 0 {
                    set("cpu", "cpu.shares", wanted.cpu_shares.to_string());
                }
                if wanted.cpu_period > 0 {
                    set("cpu", "cpu.cfs_period_us", wanted.cpu_period.to_string());
                }
                if wanted.cpu_quota != 0 {
                    set("cpu", "cpu.cfs_quota_us", wanted.cpu_quota.to_string());
                }
                if wanted.memory_limit_in_bytes != 0 {
                    set("memory", "memory.limit_in_bytes", wanted.memory_limit_in_bytes.to_string());
                }
            }
            Self::V2(_) => {
                if wanted.cpu_shares > 0 {
                    set("cpu", "cpu.weight", cpu_weight(wanted.cpu_shares).to_string());
                }
                if wanted.cpu_quota != 0 {
                    let quota =
                        if wanted.cpu_quota < 0 { "max".to_owned() } else { wanted.cpu_quota.to_string() };
                    let period = if wanted.cpu_period > 0 { wanted.cpu_period } else { 100_000 };
                    set("cpu", "cpu.max", format!("{quota} {period}"));
                }
                if wanted.memory_limit_in_bytes != 0 {
                    let limit = wanted.memory_limit_in_bytes;
                    set("memory", "memory.max", if limit < 0 { "max".to_owned() } else { limit.to_string() });
                }
            }
        }
        if !wanted.cpuset_cpus.is_empty() {
            set("cpuset", "cpuset.cpus", wanted.cpuset_cpus.clone());
        }
        if !wanted.cpuset_mems.is_empty() {
            set("cpuset", "cpuset.mems", wanted.cpuset_mems.clone());
        }
        out
    }
}

/// cgroup v2's weight (1…10000) for v1's shares (2…262144), as the OCI runtimes convert it.
fn cpu_weight(shares: i64) -> i64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9999) / 262_142
}

fn write_limit(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot set {} to {value}: {error}", file.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        assert_eq!((cpu_weight(2), cpu_weight(1024), cpu_weight(262_144)), (1, 39, 10_000));
    }
}
