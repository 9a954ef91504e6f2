//! Resource usage of containers and pods, read from their cgroups when requested.

use cri::v1::{
    ContainerAttributes, ContainerFilter, ContainerStats, ContainerStatsFilter, CpuUsage,
    FilesystemIdentifier, FilesystemUsage, LinuxPodSandboxStats, MemoryUsage, NetworkInterfaceUsage,
    NetworkUsage, PodSandboxAttributes, PodSandboxStats, PodSandboxStatsFilter, ProcessUsage, SwapUsage,
    UInt64Value,
};

use super::{Container, Engine, EngineError, Sandbox};
use cgroup::Usage;

impl Engine {
    pub async fn container_stats(&self, id: &str) -> Result<ContainerStats, EngineError> {
        let container = self.container(id)?;
        self.stats_of(&container).await
    }

    pub async fn list_container_stats(
        &self,
        filter: ContainerStatsFilter,
    ) -> Result<Vec<ContainerStats>, EngineError> {
        let filter = ContainerFilter {
            id: filter.id,
            pod_sandbox_id: filter.pod_sandbox_id,
            label_selector: filter.label_selector,
            state: None,
        };
        let mut all = Vec::new();
        for container in self.selected_containers(&filter).iter().filter(|c| c.is_running()) {
            all.push(self.stats_of(container).await?);
        }
        Ok(all)
    }

    async fn stats_of(&self, container: &Container) -> Result<ContainerStats, EngineError> {
        let now = self.now_ns();
        let layer = self.deps.rootfs.usage(&container.id).await?;
        let usage = self.hierarchy.usage(&container.record().cgroup.clone());
        Ok(ContainerStats {
            attributes: Some(ContainerAttributes {
                id: container.id.clone(),
                metadata: container.config.metadata.clone(),
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
            }),
            cpu: Some(cpu(&usage, now)),
            memory: Some(memory(&usage, now)),
            writable_layer: Some(FilesystemUsage {
                timestamp: now,
                fs_id: Some(FilesystemIdentifier {
                    mountpoint: self.config.root_dir.to_string_lossy().into_owned(),
                }),
                used_bytes: value(Some(layer.used_bytes)),
                inodes_used: value(Some(layer.inodes)),
            }),
            swap: Some(SwapUsage {
                timestamp: now,
                swap_available_bytes: None,
                swap_usage_bytes: value(usage.swap_bytes),
            }),
        })
    }

    pub async fn sandbox_stats(&self, id: &str) -> Result<PodSandboxStats, EngineError> {
        let sandbox = self.sandbox(id)?;
        self.stats_of_pod(&sandbox).await
    }

    pub async fn list_sandbox_stats(
        &self,
        filter: PodSandboxStatsFilter,
    ) -> Result<Vec<PodSandboxStats>, EngineError> {
        let mut all = Vec::new();
        for sandbox in
            self.selected_sandboxes(&filter.id, &filter.label_selector).iter().filter(|s| s.is_ready())
        {
            all.push(self.stats_of_pod(sandbox).await?);
        }
        Ok(all)
    }

    async fn stats_of_pod(&self, sandbox: &Sandbox) -> Result<PodSandboxStats, EngineError> {
        let now = self.now_ns();
        let mut containers = Vec::new();
        for container in self.containers_of(sandbox).iter().filter(|c| c.is_running()) {
            containers.push(self.stats_of(container).await?);
        }
        let usage = self.pod_usage(sandbox);
        let pause_pid = sandbox.state().pause_pid;
        Ok(PodSandboxStats {
            attributes: Some(PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(LinuxPodSandboxStats {
                cpu: Some(cpu(&usage, now)),
                memory: Some(memory(&usage, now)),
                network: pause_pid.and_then(|pid| network(pid, now)),
                process: Some(ProcessUsage { timestamp: now, process_count: value(usage.processes) }),
                containers,
            }),
            windows: None,
        })
    }

    /// Of the pod's own cgroup where it has one, else of its containers together.
    fn pod_usage(&self, sandbox: &Sandbox) -> Usage {
        let parent = sandbox.cgroup_parent("");
        if !parent.is_empty() {
            return self.hierarchy.usage(parent);
        }
        let each =
            self.containers_of(sandbox).into_iter().map(|c| self.hierarchy.usage(&c.record().cgroup.clone()));
        each.fold(Usage::default(), |sum, one| Usage {
            cpu_ns: plus(sum.cpu_ns, one.cpu_ns),
            memory_bytes: plus(sum.memory_bytes, one.memory_bytes),
            working_set_bytes: plus(sum.working_set_bytes, one.working_set_bytes),
            rss_bytes: plus(sum.rss_bytes, one.rss_bytes),
            page_faults: plus(sum.page_faults, one.page_faults),
            major_page_faults: plus(sum.major_page_faults, one.major_page_faults),
            memory_limit_bytes: None,
            swap_bytes: plus(sum.swap_bytes, one.swap_bytes),
            processes: plus(sum.processes, one.processes),
        })
    }
}

fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.map_or(b, |a| Some(a + b.unwrap_or(0)))
}

fn value(number: Option<u64>) -> Option<UInt64Value> {
    number.map(|value| UInt64Value { value })
}

fn cpu(usage: &Usage, now: i64) -> CpuUsage {
    CpuUsage { timestamp: now, usage_core_nano_seconds: value(usage.cpu_ns), ..CpuUsage::default() }
}

fn memory(usage: &Usage, now: i64) -> MemoryUsage {
    let available = usage.memory_limit_bytes.zip(usage.working_set_bytes).map(|(l, w)| l.saturating_sub(w));
    MemoryUsage {
        timestamp: now,
        working_set_bytes: value(usage.working_set_bytes),
        available_bytes: value(available),
        usage_bytes: value(usage.memory_bytes),
        rss_bytes: value(usage.rss_bytes),
        page_faults: value(usage.page_faults),
        major_page_faults: value(usage.major_page_faults),
    }
}

/// Interfaces of the network namespace of process `pid`.
fn network(pid: i32, now: i64) -> Option<NetworkUsage> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let interfaces: Vec<NetworkInterfaceUsage> = text.lines().filter_map(interface).collect();
    Some(NetworkUsage {
        timestamp: now,
        default_interface: interfaces.iter().find(|i| i.name == "eth0").cloned(),
        interfaces,
    })
}

fn interface(line: &str) -> Option<NetworkInterfaceUsage> {
    let (name, counters) = line.split_once(':')?;
    let counters: Vec<u64> = counters.split_whitespace().filter_map(|c| c.parse().ok()).collect();
    let name = name.trim();
    if name == "lo" {
        return None;
    }
    let at = |index: usize| value(counters.get(index).copied());
    Some(NetworkInterfaceUsage {
        name: name.to_owned(),
        rx_bytes: at(0),
        rx_errors: at(2),
        tx_bytes: at(8),
        tx_errors: at(10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_counters_are_found_by_column() {
        let line = "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        let found = interface(line).expect("an interface");
        let counters = [found.rx_bytes, found.rx_errors, found.tx_bytes, found.tx_errors];
        assert_eq!(counters.map(|c| c.map_or(0, |v| v.value)), [1, 3, 9, 11]);
        assert!(interface("    lo: 1 2 3").is_none() && interface("Inter-| Receive").is_none());
    }
}
