//! How pods and containers start (upstream `pkg/kubelet/metrics/metrics.go`).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::START_BUCKETS_S;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    container_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailedKind {
    container_type: &'static str,
    code: String,
}

/// The families. Clones share them.
#[derive(Debug, Clone)]
pub struct Starts {
    sli: Histogram,
    total: Histogram,
    pods: Counter,
    pods_failed: Counter,
    containers: Family<Kind, Counter>,
    containers_failed: Family<FailedKind, Counter>,
}

impl Default for Starts {
    fn default() -> Self {
        Self {
            sli: Histogram::new(START_BUCKETS_S),
            total: Histogram::new(START_BUCKETS_S),
            pods: Counter::default(),
            pods_failed: Counter::default(),
            containers: Family::default(),
            containers_failed: Family::default(),
        }
    }
}

impl Starts {
    /// Shows the figures with the node's.
    // The full stop after each help text is added where it is shown.
    pub(super) fn register(&self, node: &base::Metrics) {
        node.register(|registry| {
            registry.register(
                "kubelet_pod_start_sli_duration_seconds",
                "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured \
                 from pod creation timestamp to when all its containers are reported as started and observed via watch",
                self.sli.clone(),
            );
            registry.register(
                "kubelet_pod_start_total_duration_seconds",
                "Duration in seconds to start a pod since creation, including time to pull images and run init \
                 containers, measured from pod creation timestamp to when all its containers are reported as started \
                 and observed via watch",
                self.total.clone(),
            );
            registry.register("kubelet_started_pods", "Cumulative number of pods started", self.pods.clone());
            registry.register(
                "kubelet_started_pods_errors",
                "Cumulative number of errors when starting pods",
                self.pods_failed.clone(),
            );
            registry.register(
                "kubelet_started_containers",
                "Cumulative number of containers started",
                self.containers.clone(),
            );
            registry.register(
                "kubelet_started_containers_errors",
                "Cumulative number of errors when starting containers",
                self.containers_failed.clone(),
            );
        });
    }

    /// All containers of a pod have started, so long after it was made; `busy` of that went into images and init
    /// containers.
    pub fn pod_is_up(&self, after: Duration, busy: Duration) {
        self.total.observe(after.as_secs_f64());
        self.sli.observe(after.saturating_sub(busy).as_secs_f64());
    }

    /// A sandbox was to be made for a pod.
    pub fn pod(&self, failed: bool) {
        self.pods.inc();
        if failed {
            self.pods_failed.inc();
        }
    }

    /// A container of a type was to be started; `failed` is the reason why it was not.
    pub fn container(&self, container_type: &'static str, failed: Option<&str>) {
        self.containers.get_or_create(&Kind { container_type }).inc();
        if let Some(code) = failed {
            self.containers_failed.get_or_create(&FailedKind { container_type, code: code.to_owned() }).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use base::metrics::{Format, strict};

    use super::*;

    #[test]
    fn starts_are_shown_under_upstreams_names() {
        let node = base::Metrics::default();
        let starts = Starts::default();
        starts.register(&node);
        starts.pod(false);
        starts.pod(true);
        starts.container("init_container", None);
        starts.container("container", Some("CreateContainerError"));
        starts.pod_is_up(Duration::from_secs(9), Duration::from_millis(8500));
        let text = node.render(Format::Prometheus).expect("text");
        strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{text}"));
        for line in [
            "kubelet_started_pods_total 2",
            "kubelet_started_pods_errors_total 1",
            "kubelet_started_containers_total{container_type=\"init_container\"} 1",
            "kubelet_started_containers_errors_total{container_type=\"container\",code=\"CreateContainerError\"} 1",
            "kubelet_pod_start_sli_duration_seconds_bucket{le=\"0.5\"} 1",
            "kubelet_pod_start_total_duration_seconds_bucket{le=\"8.0\"} 0",
            "kubelet_pod_start_total_duration_seconds_bucket{le=\"10.0\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
