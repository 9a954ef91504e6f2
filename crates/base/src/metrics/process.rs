//! The kernel's figures of this process, under the names that Prometheus' own clients use.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Ticks a second in `/proc`: the same on every architecture Linux serves us on (`USER_HZ`, `time(7)`).
const USER_HZ: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = ConstCounter::new(spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9);
        let about = "Total user and system CPU time spent in seconds.";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", about, None, cpu.metric_type())?)?;

        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let files = std::fs::read_dir("/proc/self/fd").map(|open| open.count() as f64).ok();
        let limit = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
        for (name, about, value) in [
            ("process_resident_memory_bytes", "Resident memory size in bytes.", bytes_of(&status, "VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", bytes_of(&status, "VmSize:")),
            ("process_open_fds", "Number of open file descriptors.", files),
            ("process_max_fds", "Maximum number of open file descriptors.", limit),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                started(),
            ),
        ] {
            // What the kernel does not tell is left out.
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, about, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// A line of `/proc/self/status`, as `VmRSS:     1234 kB`.
fn bytes_of(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// In seconds since the epoch: when the machine was started, and how long after that the process was.
fn started() -> Option<f64> {
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let machine: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may contain anything: the 22nd field of `proc_pid_stat(5)`.
    let ticks: f64 = own.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(machine + ticks / USER_HZ)
}
