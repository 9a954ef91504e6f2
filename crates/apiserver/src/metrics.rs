//! The server's own metrics, under upstream's names.

use std::sync::Arc;
use std::time::Duration;

use base::metrics::Format;
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use resources::KindTable;

use crate::cache::StoreCalls;
use crate::inflight::InFlight;
use crate::request::path::RequestInfo;

mod storage;

use storage::StorageMetrics;

/// Upstream's buckets of `apiserver_request_duration_seconds`, thinned.
const BUCKETS_S: [f64; 12] = [0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 5.0, 20.0, 60.0];

/// What a request is counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    verb: &'static str,
    group: Arc<str>,
    version: Arc<str>,
    resource: Arc<str>,
    subresource: Arc<str>,
    scope: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    verb: &'static str,
    group: Arc<str>,
    version: Arc<str>,
    resource: Arc<str>,
    subresource: Arc<str>,
    scope: &'static str,
    component: &'static str,
    code: u16,
}

/// All metrics of the server.
pub(crate) struct Metrics {
    /// Also of other parts of the process.
    pub process: base::Metrics,
    pub storage: StorageMetrics,
    requests: Family<Counted, Counter>,
    durations: Family<Labels, Histogram>,
    in_flight: Family<Vec<(&'static str, &'static str)>, Gauge>,
}

impl Metrics {
    /// `calls`: those of the store, counted elsewhere and shown here.
    pub(crate) fn new(calls: &StoreCalls) -> Self {
        let process = base::Metrics::default();
        let requests = Family::<Counted, Counter>::default();
        let durations = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS_S));
        let in_flight = Family::<Vec<(&'static str, &'static str)>, Gauge>::default();
        let mut storage = None;
        process.register(|registry| {
            registry.register("apiserver_request", "Requests by verb, resource and code", requests.clone());
            registry.register(
                "apiserver_request_duration_seconds",
                "Response latency in seconds by verb and resource",
                durations.clone(),
            );
            registry.register(
                "apiserver_current_inflight_requests",
                "Requests in progress by kind",
                in_flight.clone(),
            );
            storage = Some(StorageMetrics::register(registry, calls));
        });
        let storage = storage.expect("it was registered just now");
        Self { process, storage, requests, durations, in_flight }
    }

    /// What the request is counted under. Resources that are not served share one label, so that clients
    /// cannot make series at will.
    pub(crate) fn labels(&self, table: &KindTable, info: &RequestInfo) -> Labels {
        let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
            (false, ..) => "",
            (true, false, _) => "resource",
            (true, true, false) => "namespace",
            (true, true, true) => "cluster",
        };
        let served = table.find(&info.group, &info.version, &info.resource).filter(|_| info.is_resource);
        let [group, version, resource, subresource] = match served {
            Some(row) if row.part(&info.subresource).is_some() => {
                [&info.group, &info.version, &info.resource, &info.subresource]
                    .map(|text| text.as_str().into())
            }
            Some(_) => [&info.group, &info.version, &info.resource, ""].map(Into::into),
            None => ["", "", "", ""].map(Into::into),
        };
        Labels { verb: counted_verb(info.verb), group, version, resource, subresource, scope }
    }

    pub(crate) fn observe(&self, labels: Labels, status: StatusCode, took: Duration) {
        if labels.verb != "WATCH" {
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        let Labels { verb, group, version, resource, subresource, scope } = labels;
        let counted = Counted {
            verb,
            group,
            version,
            resource,
            subresource,
            scope,
            component: "apiserver",
            code: status.as_u16(),
        };
        self.requests.get_or_create(&counted).inc();
    }

    /// The text of `/metrics`.
    pub(crate) fn render(&self, in_flight: &InFlight, format: Format) -> Result<String, std::fmt::Error> {
        let (reading, mutating) = in_flight.now();
        for (kind, now) in [("readOnly", reading), ("mutating", mutating)] {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            self.in_flight.get_or_create(&vec![("request_kind", kind)]).set(now);
        }
        self.process.render(format)
    }
}

fn counted_verb(verb: &'static str) -> &'static str {
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "proxy" => "PROXY",
        "head" => "HEAD",
        "post" => "POST",
        "put" => "PUT",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use resources::ResourceSource;

    use super::*;
    use crate::request::query::Query;

    #[test]
    fn clients_cannot_make_series_at_will() {
        let (metrics, table) = (Metrics::new(&StoreCalls::default()), resources::Builtin.table());
        let labels = |path: &str| {
            let info = RequestInfo::parse(&http::Method::GET, path, &Query::default()).expect("a path");
            metrics.labels(&table, &info)
        };
        let first = labels("/apis/made.up/v1/things/x/sub");
        assert_eq!(first, labels("/apis/other.made.up/v2/stuff/y/path"));
        assert_eq!(first.resource.as_ref(), "");
        let part = labels("/api/v1/namespaces/n/pods/p/made-up");
        assert_eq!((part.resource.as_ref(), part.subresource.as_ref()), ("pods", ""));
        assert_eq!(labels("/api/v1/namespaces/n/pods/p/log").subresource.as_ref(), "log");
    }
}
