//! What is counted of calls, under upstream's names (`k8s.io/apiserver/pkg/admission/metrics`).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::refusal::Fault;
use crate::admission::plugin::Operation;

const BUCKETS_S: [f64; 7] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    rejected: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    code: u16,
    rejected: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    error_type: &'static str,
    rejection_code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Passed {
    name: String,
    r#type: &'static str,
}

/// Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    took: Family<Called, Histogram, fn() -> Histogram>,
    requests: Family<Answered, Counter>,
    // Counters upstream, whose names do not end as those of counters here have to.
    rejections: Family<Rejected, Gauge>,
    fail_open: Family<Passed, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            took: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            requests: Family::default(),
            rejections: Family::default(),
            fail_open: Family::default(),
        }
    }
}

/// What becomes of codes that webhooks make up, as upstream.
const MAX_CODE: u16 = 600;

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_admission_webhook_admission_duration_seconds",
            "Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
            self.took.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_request",
            "Admission webhook request total, identified by name and broken out for each admission type (validating or mutating) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
            self.requests.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_rejection_count",
            "Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
            self.rejections.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_fail_open_count",
            "Admission webhook fail open count, identified by name and broken out for each admission type (validating or mutating).",
            self.fail_open.clone(),
        );
    }

    /// Counts a call. `fails`: whether the request fails with a call that fails.
    pub(super) fn observe(
        &self,
        name: &str,
        of: &'static str,
        operation: Operation,
        took: Duration,
        fault: Option<&Fault>,
        fails: bool,
    ) {
        let (name, operation, r#type) = (name.to_owned(), operation.as_str(), of);
        let rejects = fault.is_some_and(|fault| fails || !matches!(fault, Fault::Call { .. }));
        let rejected = if rejects { "true" } else { "false" };
        let (error_type, code) = fault.map_or(("", 200), Fault::sort);
        let code = code.min(MAX_CODE);
        self.took
            .get_or_create(&Called { name: name.clone(), r#type, operation, rejected })
            .observe(took.as_secs_f64());
        self.requests
            .get_or_create(&Answered { name: name.clone(), r#type, operation, code, rejected })
            .inc();
        if rejects {
            let rejection = Rejected { name, r#type, operation, error_type, rejection_code: code };
            self.rejections.get_or_create(&rejection).inc();
        } else if fault.is_some() {
            self.fail_open.get_or_create(&Passed { name, r#type }).inc();
        }
    }
}
