//! How long claims take to be prepared and unprepared (upstream `pkg/kubelet/metrics/metrics.go`).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets_range};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    is_error: &'static str,
    operation_name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    driver_name: String,
    grpc_status_code: String,
    method_name: &'static str,
}

/// The families. Clones share them.
#[derive(Debug, Clone)]
pub struct Devices {
    operations: Family<Operation, Histogram, fn() -> Histogram>,
    calls: Family<Call, Histogram, fn() -> Histogram>,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            operations: Family::new_with_constructor(durations),
            calls: Family::new_with_constructor(durations),
        }
    }
}

/// Upstream's `DRADurationBuckets`.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets_range(0.1, 40.0, 15))
}

impl Devices {
    /// Shows the figures with the node's.
    // The full stop after each help text is added where it is shown.
    pub(super) fn register(&self, node: &base::Metrics) {
        node.register(|registry| {
            registry.register(
                "dra_operations_duration_seconds",
                "Latency histogram in seconds for the duration of handling all ResourceClaims referenced by a pod when \
                 the pod starts or stops. Identified by the name of the operation (PrepareResources or \
                 UnprepareResources) and separated by the success of the operation. The number of failed operations is \
                 provided through the histogram's overall count",
                self.operations.clone(),
            );
            registry.register(
                "dra_grpc_operations_duration_seconds",
                "Duration in seconds of the DRA gRPC operations",
                self.calls.clone(),
            );
        });
    }

    /// The claims of a pod were prepared or unprepared, or not.
    pub fn operated(&self, operation_name: &'static str, failed: bool, took: Duration) {
        let labels = Operation { is_error: if failed { "true" } else { "false" }, operation_name };
        self.operations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A driver was called; with gRPC's name of the outcome.
    pub fn called(&self, driver: &str, method_name: &'static str, code: String, took: Duration) {
        let labels = Call { driver_name: driver.to_owned(), grpc_status_code: code, method_name };
        self.calls.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
