//! Figures of requests (upstream: `k8s.io/apiserver/pkg/endpoints/metrics`).

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use resources::{KindTable, Resource};

use crate::request::path::RequestInfo;
use crate::request::query::Query;

/// Upstream's buckets of `apiserver_request_duration_seconds`, by which rules and alerts ask, and one for what is faster
/// than upstream's first.
const BUCKETS_S: [f64; 24] = [
    0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0,
    15.0, 20.0, 30.0, 45.0, 60.0,
];
const SIZES_BYTES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// What a request is counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    verb: &'static str,
    group: Arc<str>,
    version: Arc<str>,
    pub(super) resource: Arc<str>,
    pub(super) subresource: Arc<str>,
    pub(super) scope: &'static str,
    component: &'static str,
}

/// The same, and whether the request only tries: how requests are timed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Timed {
    #[prometheus(flatten)]
    pub(super) labels: Labels,
    dry_run: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    #[prometheus(flatten)]
    timed: Timed,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    #[prometheus(flatten)]
    labels: Labels,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Deprecated {
    group: String,
    version: String,
    resource: String,
    subresource: String,
    removed_release: &'static str,
}

/// A watch or stream that is open; counted until dropped.
#[derive(Debug)]
pub(crate) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How a request ended.
pub(crate) struct Ending {
    pub status: StatusCode,
    pub took: Duration,
    /// Of the answer, where that is known before the answer is sent.
    pub bytes: Option<u64>,
    /// The server ended it to protect itself: too many requests, or too long.
    pub in_self_defence: bool,
}

pub(super) struct RequestMetrics {
    requests: Family<Counted, Counter>,
    durations: Family<Timed, Histogram, fn() -> Histogram>,
    sizes: Family<Labels, Histogram, fn() -> Histogram>,
    terminations: Family<Ended, Counter>,
    running: Family<Labels, Gauge>,
    deprecated: Family<Deprecated, Gauge>,
}

impl RequestMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            sizes: Family::new_with_constructor(|| Histogram::new(SIZES_BYTES)),
            terminations: Family::default(),
            running: Family::default(),
            deprecated: Family::default(),
        };
        registry.register(
            "apiserver_request",
            "Requests by verb, dry run value, resource, scope and code",
            metrics.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Response latency in seconds by verb, dry run value, resource and scope",
            metrics.durations.clone(),
        );
        // Waits for webhooks and in queues, which the indicator is to leave out, are still part of it.
        registry.register(
            "apiserver_request_sli_duration_seconds",
            "Response latency in seconds by verb, resource and scope, without waits for webhooks and in queues",
            metrics.durations.clone(),
        );
        registry.register(
            "apiserver_response_sizes",
            "Response size in bytes of reading requests by verb, resource and scope",
            metrics.sizes.clone(),
        );
        registry.register(
            "apiserver_request_terminations",
            "Number of requests which apiserver terminated in self-defense",
            metrics.terminations.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches and streams that are open by verb, resource and scope; streams of upgraded connections are not counted",
            metrics.running.clone(),
        );
        registry.register(
            "apiserver_requested_deprecated_apis",
            "Deprecated APIs that have been requested, by resource and the release that removes them",
            metrics.deprecated.clone(),
        );
        metrics
    }

    pub(super) fn observe(&self, timed: Timed, ending: &Ending) {
        let labels = &timed.labels;
        let code = ending.status.as_u16();
        if labels.verb != "WATCH" {
            self.durations.get_or_create(&timed).observe(ending.took.as_secs_f64());
        }
        if let (Some(bytes), "GET" | "LIST") = (ending.bytes, labels.verb) {
            self.sizes.get_or_create(labels).observe(bytes as f64);
        }
        if ending.in_self_defence {
            self.terminations.get_or_create(&Ended { labels: labels.clone(), code }).inc();
        }
        self.requests.get_or_create(&Counted { timed, code }).inc();
    }

    pub(super) fn begin(&self, labels: &Labels) -> Running {
        let gauge = self.running.get_or_create(labels).clone();
        gauge.inc();
        Running(gauge)
    }

    pub(super) fn used_deprecated(&self, row: &Resource, subresource: &str) {
        let used = Deprecated {
            group: row.group.to_string(),
            version: row.version.to_string(),
            resource: row.plural.to_string(),
            subresource: subresource.to_owned(),
            // No kind that is served has a release that removes it.
            removed_release: "",
        };
        self.deprecated.get_or_create(&used).set(1);
    }
}

impl Timed {
    /// What the request is counted under. Resources that are not served share one label, so that clients
    /// cannot make series at will.
    pub(crate) fn of(table: &KindTable, info: &RequestInfo, query: &Query, headers: &HeaderMap) -> Self {
        let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
            (false, ..) => "",
            (true, false, _) => "resource",
            (true, ..) if info.verb == "create" => "resource",
            (true, true, false) => "namespace",
            (true, true, true) => "cluster",
        };
        let served = table.find(&info.group, &info.version, &info.resource).filter(|_| info.is_resource);
        let [group, version, resource, subresource]: [Arc<str>; 4] = match served {
            Some(row) if row.part(&info.subresource).is_some() => {
                [&info.group, &info.version, &info.resource, &info.subresource]
                    .map(|text| text.as_str().into())
            }
            Some(_) => [&info.group, &info.version, &info.resource, ""].map(Into::into),
            None => ["", "", "", ""].map(Into::into),
        };
        let verb = match info.verb {
            "patch" if is_apply(headers) => "APPLY",
            _ if is_connect(&subresource) => "CONNECT",
            verb => counted_verb(verb),
        };
        let dry_run = match query.get("dryRun") {
            None | Some("") => "",
            Some("All") => "All",
            Some(_) => "invalid",
        };
        let labels = Labels { verb, group, version, resource, subresource, scope, component: "apiserver" };
        Self { labels, dry_run }
    }
}

fn is_apply(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply-patch"))
}

/// Whether the subresource is connected to, whatever the method.
fn is_connect(subresource: &str) -> bool {
    matches!(subresource, "attach" | "exec" | "portforward" | "proxy")
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

    fn timed(method: &http::Method, url: &str) -> Timed {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(query);
        let info = RequestInfo::parse(method, path, &query).expect("a path");
        Timed::of(&resources::Builtin.table(), &info, &query, &HeaderMap::new())
    }

    #[test]
    fn clients_cannot_make_series_at_will() {
        let labels = |path: &str| timed(&http::Method::GET, path).labels;
        let first = labels("/apis/made.up/v1/things/x/sub");
        assert_eq!(first, labels("/apis/other.made.up/v2/stuff/y/path"));
        assert_eq!(first.resource.as_ref(), "");
        let part = labels("/api/v1/namespaces/n/pods/p/made-up");
        assert_eq!((part.resource.as_ref(), part.subresource.as_ref()), ("pods", ""));
        assert_eq!(labels("/api/v1/namespaces/n/pods/p/log").subresource.as_ref(), "log");
        assert_eq!(timed(&http::Method::GET, "/api/v1/pods?dryRun=x").dry_run, "invalid");
    }

    /// Rules for latency ask by these (kube-prometheus: `kube-apiserver-burnrate.rules`).
    #[test]
    fn scopes_and_verbs_are_upstreams() {
        let of = |method: http::Method, url: &str| {
            let labels = timed(&method, url).labels;
            (labels.verb, labels.scope)
        };
        let get = http::Method::GET;
        assert_eq!(of(get.clone(), "/api/v1/namespaces/n/pods/p"), ("GET", "resource"));
        assert_eq!(of(get.clone(), "/api/v1/namespaces/n/pods"), ("LIST", "namespace"));
        assert_eq!(of(get.clone(), "/api/v1/pods"), ("LIST", "cluster"));
        assert_eq!(of(get.clone(), "/version"), ("GET", ""));
        assert_eq!(of(get, "/api/v1/namespaces/n/pods/p/exec"), ("CONNECT", "resource"));
        assert_eq!(of(http::Method::POST, "/api/v1/namespaces/n/pods"), ("POST", "resource"));
        let (query, path) = (Query::default(), "/api/v1/namespaces/n/pods/p");
        let info = RequestInfo::parse(&http::Method::PATCH, path, &query).expect("a path");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/apply-patch+yaml".parse().expect("a value"));
        let applied = Timed::of(&resources::Builtin.table(), &info, &query, &headers);
        assert_eq!(applied.labels.verb, "APPLY");
    }
}
