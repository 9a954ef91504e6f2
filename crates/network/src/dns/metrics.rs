//! [`Metrics`]: the server's figures under CoreDNS' names, which dashboards know, and the port that shows them.
//!
//! Source of the names: CoreDNS' plugins metrics, forward, hosts and reload.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use base::Shutdown;
use base::metrics::{Escaped, Format};
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, RecordType};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::net::{TcpListener, TcpStream};

const SERVER: &str = "dns://:53";
/// Bounds of durations, in seconds: 0.25 ms, doubled 15 times (CoreDNS' `plugin.TimeBuckets`).
const BUCKETS: u32 = 16;
const LIMITS: serving::Limits =
    serving::Limits { server: "metrics of cluster DNS", connections: 16, excess: serving::Excess::Closed };
/// For a client to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    server: &'static str,
    zone: Escaped,
    view: &'static str,
    proto: &'static str,
    family: &'static str,
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    server: &'static str,
    zone: Escaped,
    view: &'static str,
    rcode: Escaped,
    plugin: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Took {
    server: &'static str,
    zone: Escaped,
    view: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassedOn {
    proxy_name: &'static str,
    to: Escaped,
    rcode: Escaped,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations() -> Histogram {
    Histogram::new((0..BUCKETS).map(|at| 0.000_25 * f64::from(1u32 << at)))
}

/// Clones share the figures.
#[derive(Clone)]
pub(super) struct Metrics {
    shown: base::Metrics,
    requests: Family<Asked, Counter>,
    responses: Family<Answered, Counter>,
    took: Durations<Took>,
    passed_on: Durations<PassedOn>,
    refused: Counter,
    broken: Counter,
    hosts: Gauge,
    reloads_failed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            shown: base::Metrics::default(),
            requests: Family::default(),
            responses: Family::default(),
            took: Family::new_with_constructor(durations),
            passed_on: Family::new_with_constructor(durations),
            refused: Counter::default(),
            broken: Counter::default(),
            hosts: Gauge::default(),
            reloads_failed: Counter::default(),
        };
        metrics.shown.register_process();
        metrics.register();
        metrics
    }
}

/// A question and its answer.
pub(super) struct Exchange<'a> {
    pub zone: &'a Name,
    pub kind: RecordType,
    pub client: SocketAddr,
    pub protocol: Protocol,
    pub code: ResponseCode,
    /// Which part of the rules has answered.
    pub plugin: &'static str,
    pub took: Duration,
}

/// The figures that an exchange counts in, for others like it.
pub(super) struct Counted {
    requests: Counter,
    responses: Counter,
    took: Histogram,
}

impl Counted {
    pub fn again(&self, took: Duration) {
        self.requests.inc();
        self.responses.inc();
        self.took.observe(took.as_secs_f64());
    }
}

impl Metrics {
    fn register(&self) {
        self.shown.register(|registry| {
            let all = registry;
            all.register(
                "coredns_dns_requests",
                "Counter of DNS requests made per zone, protocol and family.",
                self.requests.clone(),
            );
            all.register(
                "coredns_dns_responses",
                "Counter of response status codes.",
                self.responses.clone(),
            );
            all.register(
                "coredns_dns_request_duration_seconds",
                "Histogram of the time (in seconds) each request took per zone.",
                self.took.clone(),
            );
            all.register(
                "coredns_proxy_request_duration_seconds",
                "Histogram of the time each request took.",
                self.passed_on.clone(),
            );
            all.register(
                "coredns_forward_max_concurrent_rejects",
                "Counter of the number of queries rejected because the concurrent queries were at maximum.",
                self.refused.clone(),
            );
            all.register(
                "coredns_forward_healthcheck_broken",
                "Counter of the number of complete failures of the healthchecks.",
                self.broken.clone(),
            );
            all.register(
                "coredns_hosts_entries",
                "The combined number of entries in hosts and Corefile.",
                self.hosts.clone(),
            );
            all.register(
                "coredns_reload_failed",
                "Counter of the number of failed reload attempts.",
                self.reloads_failed.clone(),
            );
        });
    }

    pub fn answered(&self, exchange: &Exchange<'_>) -> Counted {
        let zone = || Escaped(exchange.zone.to_ascii());
        let asked = Asked {
            server: SERVER,
            zone: zone(),
            view: "",
            proto: if exchange.protocol == Protocol::Tcp { "tcp" } else { "udp" },
            family: if exchange.client.is_ipv4() { "1" } else { "2" },
            r#type: kind(exchange.kind),
        };
        let answered = Answered {
            server: SERVER,
            zone: zone(),
            view: "",
            rcode: code(exchange.code),
            plugin: exchange.plugin,
        };
        let took = Took { server: SERVER, zone: zone(), view: "" };
        let counted = Counted {
            requests: self.requests.get_or_create(&asked).clone(),
            responses: self.responses.get_or_create(&answered).clone(),
            took: self.took.get_or_create(&took).clone(),
        };
        counted.again(exchange.took);
        counted
    }

    pub fn passed_on(&self, to: SocketAddr, said: ResponseCode, took: Duration) {
        let passed_on = PassedOn { proxy_name: "forward", to: Escaped(to.to_string()), rcode: code(said) };
        self.passed_on.get_or_create(&passed_on).observe(took.as_secs_f64());
    }

    /// A question too many at one time.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// A question for which no server was to be asked.
    pub fn broken(&self) {
        self.broken.inc();
    }

    pub fn has_hosts(&self, count: usize) {
        self.hosts.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Settings that were not understood.
    pub fn reload_failed(&self) {
        self.reloads_failed.inc();
    }

    /// Shows the figures at `/metrics` until `shutdown` starts.
    pub async fn serve(self, listener: TcpListener, shutdown: &Shutdown) {
        let open = serving::accept(listener, LIMITS, shutdown, |socket, _| self.clone().converse(socket));
        open.await.shutdown().await;
    }

    async fn converse(self, socket: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(socket), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection for metrics of cluster DNS ended");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        if request.uri().path() != "/metrics" {
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            return response;
        }
        let accepted =
            request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let format = Format::accepted(accepted);
        match self.shown.render(format) {
            Ok(text) => {
                *response.body_mut() = Full::new(text.into());
                let kind = hyper::header::HeaderValue::from_static(format.content_type());
                response.headers_mut().insert(CONTENT_TYPE, kind);
            }
            Err(error) => {
                tracing::error!(%error, "the metrics of cluster DNS cannot be written");
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
        }
        response
    }
}

/// A type as CoreDNS counts it: those that clients ask for, and all others together.
fn kind(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::MX => "MX",
        RecordType::SOA => "SOA",
        RecordType::CNAME => "CNAME",
        RecordType::PTR => "PTR",
        RecordType::TXT => "TXT",
        RecordType::NS => "NS",
        RecordType::SRV => "SRV",
        RecordType::DS => "DS",
        RecordType::DNSKEY => "DNSKEY",
        RecordType::RRSIG => "RRSIG",
        RecordType::NSEC => "NSEC",
        RecordType::NSEC3 => "NSEC3",
        RecordType::HTTPS => "HTTPS",
        RecordType::ANY => "ANY",
        _ => "other",
    }
}

/// A code by its name in the registry of DNS.
fn code(code: ResponseCode) -> Escaped {
    let name = match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        other => return Escaped(u16::from(other).to_string()),
    };
    Escaped(name.to_owned())
}
