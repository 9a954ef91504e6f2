//! Upstream's figures, with which knarr's are compared. Taken on a machine of the same kind (2 cores, cgroup v1),
//! TLS with a client certificate: a 1.24 development tree, etcd 3.4 with fsync, containerd 1.6, runc 1.1.

/// From start to node Ready, in seconds, images imported on the way.
pub const BOOT_S: f64 = 14.6;
/// Seven processes.
pub const RESIDENT_MB: f64 = 580.0;
pub const IDLE_CPU_PERCENT: f64 = 7.3;
/// Ten programs.
pub const BINARIES_MB: f64 = 366.0;
pub const POD_RUNNING_P50_S: f64 = 0.790;
pub const POD_RUNNING_P99_S: f64 = 0.985;
pub const POD_GONE_P50_S: f64 = 4.0;
/// That kubelet limits itself to five requests a second; a later one is faster.
pub const REPLICAS_READY_S: f64 = 61.0;
pub const REPLICAS_GONE_S: f64 = 75.0;
/// Kubelet, API server, containerd, etcd and controller manager.
pub const REPLICAS_CPU_S: f64 = 23.9;

/// A load of requests.
pub struct Requests {
    pub requests_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// API server and etcd together, in seconds for 1,000 requests.
    pub cpu_per_1000: f64,
}

pub const fn requests(requests_per_s: f64, p50_ms: f64, p99_ms: f64, cpu_per_1000: f64) -> Requests {
    Requests { requests_per_s, p50_ms, p99_ms, cpu_per_1000 }
}

/// 100 watchers see 1,000 objects made by 16 connections: events a second, and the API server's processor time.
pub const WATCH_EVENTS_PER_S: f64 = 58_678.0;
pub const WATCH_P99_MS: f64 = 563.0;
pub const WATCH_CPU_S: f64 = 1.97;
