//! [`Metrics`]: the node agent's figures under upstream's names (`pkg/kubelet/metrics/metrics.go`).
//!
//! [`running`] has the figures that are computed from the pods, [`probes`] those of probes, [`certificates`] those of the
//! node's certificates, [`devices`] those of ResourceClaims, [`starts`] how pods come up, [`volumes`] what claims hold, `sheet` is for those that are made when they are asked for.

pub mod certificates;
pub mod devices;
pub mod probes;
pub mod running;
pub(crate) mod sheet;
pub mod starts;
pub mod volumes;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::time::Instant;

/// Upstream's `podStartupDurationBuckets`.
const START_BUCKETS_S: [f64; 25] = [
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0,
    480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
/// Prometheus' `DefBuckets`.
const DEFAULT_BUCKETS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Why a pod is looked at: upstream's types of sync (`pkg/kubelet/types/pod_update.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// For the first time.
    Create,
    /// Its object has changed.
    Update,
    /// The runtime's state, a probe or the time.
    Sync,
    /// It is being ended.
    Kill,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Preempted {
    preemption_signal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Evicted {
    eviction_signal: &'static str,
}

type Durations = Family<Operation, Histogram, fn() -> Histogram>;

/// The families. Clones share them; those that are registered nowhere count all the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    pod_start: Histogram,
    pod_worker: Durations,
    operations: Family<Operation, Counter>,
    operations_took: Durations,
    operations_failed: Family<Operation, Counter>,
    // Gauges, since upstream's names of these counters lack the `_total` that counters are shown with.
    preemptions: Family<Preempted, Gauge>,
    evictions: Family<Evicted, Gauge>,
    /// How pods and containers start.
    pub starts: starts::Starts,
    /// How long claims take to be prepared.
    pub devices: devices::Devices,
    /// Shown at a path of their own.
    pub probes: probes::Probes,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            pod_start: Histogram::new(START_BUCKETS_S),
            pod_worker: Family::new_with_constructor(|| Histogram::new(DEFAULT_BUCKETS_S)),
            operations: Family::default(),
            operations_took: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.005, 2.5, 14))
            }),
            operations_failed: Family::default(),
            preemptions: Family::default(),
            evictions: Family::default(),
            starts: starts::Starts::default(),
            devices: devices::Devices::default(),
            probes: probes::Probes::default(),
        }
    }
}

impl Metrics {
    /// Figures that are shown with the node's.
    pub fn registered(node: &base::Metrics) -> Self {
        let metrics = Self::default();
        metrics.register(node);
        metrics
    }

    /// Shows the figures with the node's.
    pub(crate) fn register(&self, node: &base::Metrics) {
        self.starts.register(node);
        self.devices.register(node);
        node.register(|registry| {
            registry.register(
                "kubelet_pod_start_duration_seconds",
                "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
                self.pod_start.clone(),
            );
            registry.register(
                "kubelet_pod_worker_duration_seconds",
                "Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
                self.pod_worker.clone(),
            );
            registry.register(
                "kubelet_runtime_operations",
                "Cumulative number of runtime operations by operation type",
                self.operations.clone(),
            );
            registry.register(
                "kubelet_runtime_operations_duration_seconds",
                "Duration in seconds of runtime operations. Broken down by operation type",
                self.operations_took.clone(),
            );
            registry.register(
                "kubelet_runtime_operations_errors",
                "Cumulative number of runtime operation errors by operation type",
                self.operations_failed.clone(),
            );
            registry.register(
                "kubelet_preemptions",
                "Cumulative number of pod preemptions by preemption resource",
                self.preemptions.clone(),
            );
            registry.register(
                "kubelet_evictions",
                "Cumulative number of pod evictions by eviction signal",
                self.evictions.clone(),
            );
        });
    }

    /// A pod runs, so long after the node agent has first seen it.
    pub fn started(&self, after: Duration) {
        self.pod_start.observe(after.as_secs_f64());
    }

    /// A pod gives way to a critical one that found too little of the resource.
    pub fn preempted(&self, resource: &str) {
        self.preemptions.get_or_create(&Preempted { preemption_signal: resource.to_owned() }).inc();
    }

    /// A pod is ended because of the signal.
    pub fn evicted(&self, signal: &'static str) {
        self.evictions.get_or_create(&Evicted { eviction_signal: signal }).inc();
    }

    /// A worker has looked at its pod, planned and set the plan in motion.
    pub fn synced(&self, why: Sync, took: Duration) {
        self.pod_worker.get_or_create(&Operation { operation_type: why.label() }).observe(took.as_secs_f64());
    }

    /// Waits for a call to the runtime and counts it under upstream's name of the operation
    /// (`pkg/kubelet/kuberuntime/instrumented_services.go`). A call that is given up is not counted.
    pub async fn counted<T, E>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let result = call.await;
        self.called(operation, began.elapsed(), result.is_err());
        result
    }

    /// The runtime has carried out a call, or failed to.
    fn called(&self, operation: &'static str, took: Duration, failed: bool) {
        let labels = Operation { operation_type: operation };
        self.operations.get_or_create(&labels).inc();
        self.operations_took.get_or_create(&labels).observe(took.as_secs_f64());
        if failed {
            self.operations_failed.get_or_create(&labels).inc();
        }
    }
}

impl Sync {
    const fn label(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Sync => "sync",
            Self::Kill => "kill",
        }
    }
}

#[cfg(test)]
mod tests {
    use base::metrics::{Format, strict};

    use super::*;

    #[test]
    fn figures_are_shown_under_upstreams_names() {
        let node = base::Metrics::default();
        let metrics = Metrics::registered(&node);
        metrics.started(Duration::from_millis(700));
        metrics.synced(Sync::Create, Duration::from_millis(7));
        metrics.synced(Sync::Kill, Duration::from_millis(7));
        metrics.called("run_podsandbox", Duration::from_millis(7), false);
        metrics.preempted("cpu");
        metrics.evicted("memory.available");
        metrics.called("run_podsandbox", Duration::from_millis(7), true);
        let text = node.render(Format::Prometheus).expect("text");
        strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{text}"));
        for line in [
            "kubelet_pod_start_duration_seconds_bucket{le=\"1.0\"} 1",
            "kubelet_pod_worker_duration_seconds_count{operation_type=\"create\"} 1",
            "kubelet_pod_worker_duration_seconds_count{operation_type=\"kill\"} 1",
            "kubelet_preemptions{preemption_signal=\"cpu\"} 1",
            "kubelet_evictions{eviction_signal=\"memory.available\"} 1",
            "kubelet_runtime_operations_total{operation_type=\"run_podsandbox\"} 2",
            "kubelet_runtime_operations_errors_total{operation_type=\"run_podsandbox\"} 1",
            "kubelet_runtime_operations_duration_seconds_count{operation_type=\"run_podsandbox\"} 2",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
