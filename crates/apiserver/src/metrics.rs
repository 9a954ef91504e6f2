//! The server's own metrics, under upstream's names: those of requests in `requests`, of the store in `storage`.

use base::metrics::Format;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use resources::Resource;

use crate::build::BuildInfo;
use crate::cache::StoreCalls;
use crate::fairness::FairnessMetrics;

mod access;
mod admission;
mod requests;
mod storage;

use access::AccessMetrics;
pub(crate) use access::{Authentication, Authorization};
pub(crate) use admission::{AdmissionMetrics, Kind as Admitted, Step};
use requests::RequestMetrics;
use requests::Running;
pub(crate) use requests::{Ending, Timed};
use storage::StorageMetrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    name: &'static str,
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckedWith {
    name: &'static str,
    r#type: &'static str,
    status: &'static str,
}

/// All metrics of the server.
pub(crate) struct Metrics {
    /// Also of other parts of the process.
    pub process: base::Metrics,
    /// The results of health checks, which are shown alone, too.
    slis: base::Metrics,
    pub storage: StorageMetrics,
    pub fairness: FairnessMetrics,
    pub access: AccessMetrics,
    pub admission: AdmissionMetrics,
    requests: RequestMetrics,
    in_flight: Family<Vec<(&'static str, &'static str)>, Gauge>,
    build: Family<BuildInfo, Gauge>,
    checks: Family<Checked, Gauge>,
    checks_done: Family<CheckedWith, Counter>,
}

impl Metrics {
    /// `calls`: those of the store, counted elsewhere and shown here.
    pub(crate) fn new(calls: &StoreCalls) -> Self {
        let process = base::Metrics::default();
        let in_flight = Family::<Vec<(&'static str, &'static str)>, Gauge>::default();
        let (checks, checks_done) = (Family::default(), Family::default());
        let (build, fairness) = (Family::default(), FairnessMetrics::default());
        let mut parts = None;
        process.register(|registry| {
            let access = (AccessMetrics::register(registry), AdmissionMetrics::register(registry));
            parts =
                Some((RequestMetrics::register(registry), StorageMetrics::register(registry, calls), access));
            fairness.register(registry);
            registry.register(
                "apiserver_current_inflight_requests",
                "Requests in progress by kind",
                in_flight.clone(),
            );
            registry.register("kubernetes_build_info", "What is running: always 1", Family::clone(&build));
        });
        let slis = process.part();
        slis.register(|registry| {
            registry.register(
                "kubernetes_healthcheck",
                "The result of each health check",
                Family::clone(&checks),
            );
            registry.register(
                "kubernetes_healthchecks",
                "The results of all health checks",
                Family::clone(&checks_done),
            );
        });
        let (requests, storage, (access, admission)) = parts.expect("they were registered just now");
        Self {
            process,
            slis,
            storage,
            fairness,
            access,
            admission,
            requests,
            in_flight,
            build,
            checks,
            checks_done,
        }
    }

    /// Says what is running.
    pub(crate) fn tell_build(&self, info: &BuildInfo) {
        self.build.get_or_create(info).set(1);
    }

    /// Counts a request that has been answered.
    pub(crate) fn observe(&self, timed: Timed, ending: &Ending) {
        self.requests.observe(timed, ending);
    }

    /// Counts a watch or stream as open until the result is dropped.
    pub(crate) fn begin(&self, timed: &Timed) -> Running {
        self.requests.begin(&timed.labels)
    }

    /// Notes that a deprecated kind was asked for.
    pub(crate) fn used_deprecated(&self, row: &Resource, subresource: &str) {
        self.requests.used_deprecated(row, subresource);
    }

    /// Counts the result of a health check; `kind` is `livez` and the like.
    pub(crate) fn checked(&self, name: &'static str, kind: &'static str, healthy: bool) {
        let status = if healthy { "success" } else { "error" };
        self.checks.get_or_create(&Checked { name, r#type: kind }).set(i64::from(healthy));
        self.checks_done.get_or_create(&CheckedWith { name, r#type: kind, status }).inc();
    }

    /// The text of `/metrics/slis`: the results of health checks (upstream: `component-base/metrics/prometheus/slis`).
    pub(crate) fn render_slis(&self, format: Format) -> Result<String, std::fmt::Error> {
        self.slis.render(format)
    }

    /// The text of `/metrics`, with the requests in progress that read and those that write.
    pub(crate) fn render(
        &self,
        (reading, mutating): (usize, usize),
        format: Format,
    ) -> Result<String, std::fmt::Error> {
        for (kind, now) in [("readOnly", reading), ("mutating", mutating)] {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            self.in_flight.get_or_create(&vec![("request_kind", kind)]).set(now);
        }
        self.process.render(format)
    }
}
