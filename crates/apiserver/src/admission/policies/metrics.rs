//! What is counted of mutations, under upstream's names
//! (`k8s.io/apiserver/pkg/admission/plugin/policy/mutating/metrics`).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const BUCKETS_S: [f64; 5] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
}

/// Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    checks: Family<Checked, Counter>,
    took: Family<Checked, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { checks: Family::default(), took: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)) }
    }
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_mutating_admission_policy_check",
            "Mutation admission policy check total, labeled by policy and further identified by binding.",
            self.checks.clone(),
        );
        registry.register(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.",
            self.took.clone(),
        );
    }

    /// Counts a mutation.
    pub(super) fn observe(&self, policy: &str, binding: &str, error_type: &'static str, took: Duration) {
        let (policy, policy_binding) = (policy.to_owned(), binding.to_owned());
        let checked = Checked { policy, policy_binding, error_type };
        self.checks.get_or_create(&checked).inc();
        self.took.get_or_create(&checked).observe(took.as_secs_f64());
    }
}
