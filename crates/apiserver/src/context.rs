//! What every request may use: the server's dependencies ([`Deps`]), limits and metrics.

use std::sync::Arc;
use std::time::Duration;

use api::{Error, Reason};
use base::{Clock, Supervisor};
use resources::ResourceSource;
use store::Store;

use crate::admission::{Admission, Panel, Reserver};
use crate::aggregator::Aggregator;
use crate::cache::Cache;
use crate::conversion::Converter;
use crate::discovery::Discovery;
use crate::fairness::Fairness;
use crate::health::Health;
use crate::identity::authn::{Authenticator, RequestHeaders};
use crate::identity::authz::Authorizer;
use crate::identity::{RuleResolver, TokenIssuer};
use crate::kubelet::KubeletClient;
use crate::metrics::Metrics;
use crate::openapi::OpenApi;
use crate::request::query::Query;
use crate::usage::Usage;

/// The server's limits; [`Limits::default`] has upstream's values where upstream has them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// The largest request head, in bytes.
    pub header_bytes: usize,
    /// Open connections.
    pub connections: usize,
    /// How long a client may take to shake hands, and after that to send a request's head.
    pub patience: Duration,
    /// Concurrent HTTP/2 streams on one connection.
    pub streams_per_connection: u32,
    /// The sum of these two is how many seats the priority levels share, as upstream's
    /// `--max-requests-inflight` …
    pub in_flight_reading: usize,
    /// … and `--max-mutating-requests-inflight`.
    pub in_flight_mutating: usize,
    /// How long a request may take that is no watch or stream.
    pub request_timeout: Duration,
    /// A watch without `timeoutSeconds` ends after between one and two times this.
    pub watch_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 3 * 1024 * 1024,
            header_bytes: 64 * 1024,
            connections: 10_000,
            patience: Duration::from_secs(10),
            streams_per_connection: 250,
            in_flight_reading: 400,
            in_flight_mutating: 200,
            request_timeout: Duration::from_secs(60),
            watch_timeout: Duration::from_secs(1800),
        }
    }
}

impl Limits {
    /// How long a request may take that is no watch or stream: as its client says, within the limit.
    ///
    /// # Errors
    /// 400 for a time that cannot be read.
    pub(crate) fn of_request(&self, query: &Query) -> Result<Duration, Error> {
        let Some(text) = query.get("timeout").filter(|text| !text.is_empty()) else {
            return Ok(self.request_timeout);
        };
        let nanos = api::duration::parse(text).map_err(|why| {
            Error::bad_request(format!("invalid timeout specified in the request URL - {why}"))
        })?;
        // None at all, or one in the past, is no wish.
        let asked = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos);
        Ok(asked.unwrap_or(self.request_timeout).min(self.request_timeout))
    }

    /// What comes of some work, or the 504 of a request that takes longer than it may.
    pub(crate) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::time::timeout(limit, work).await.map_err(|_| {
            let message = "Timeout: request did not complete within the allotted timeout";
            Error::new(Reason::Timeout, message)
        })
    }
}

/// The parts a server is built from.
pub struct Deps {
    pub clock: Arc<dyn Clock>,
    /// Owns the tasks that outlive a request (streams between a client and a node).
    pub supervisor: Supervisor,
    pub store: Arc<dyn Store>,
    /// Follows `store`; started with [`crate::cache_specs`] of `resources`.
    pub cache: Cache,
    /// The kinds served.
    pub resources: Arc<dyn ResourceSource>,
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
    /// Asked in order: all that change an object, then all that check it.
    pub admission: Vec<Arc<dyn Admission>>,
    /// Asked in order before each commit, which confirms what they reserve.
    pub reservers: Vec<Arc<dyn Reserver>>,
    /// Between the versions served and those stored.
    pub converter: Arc<dyn Converter>,
    /// Issues service account tokens; without it the token subresource is not implemented.
    pub tokens: Option<Arc<dyn TokenIssuer>>,
    /// Lists a user's rules; without it `SelfSubjectRulesReview` is not implemented.
    pub rules: Option<Arc<dyn RuleResolver>>,
    /// Reaches the nodes for logs, exec and the like; without it those are not implemented.
    pub kubelet: Option<Arc<KubeletClient>>,
    /// Whose requests name their user in headers; nobody's without it.
    pub request_headers: Option<Arc<RequestHeaders>>,
    /// Forwards what other servers serve; without it this server answers everything itself.
    pub aggregator: Option<Aggregator>,
}

/// The running server's state, shared by all requests.
pub(crate) struct Context {
    pub limits: Limits,
    pub deps: Deps,
    pub metrics: Metrics,
    pub fairness: Fairness,
    pub health: Health,
    pub discovery: Discovery,
    pub openapi: OpenApi,
    pub usage: Usage,
    pub audit: Option<crate::audit::Audit>,
    pub commit: &'static str,
}

impl Context {
    /// Who is asked for admission.
    pub fn panel(&self) -> Panel<'_> {
        Panel { plugins: &self.deps.admission, cache: &self.deps.cache, metrics: &self.metrics.admission }
    }

    pub(crate) fn new(limits: Limits, deps: Deps) -> Self {
        let metrics = Metrics::new(deps.cache.store_calls());
        let fairness = Fairness::start(
            limits.in_flight_reading.saturating_add(limits.in_flight_mutating),
            limits.request_timeout,
            &deps.cache,
            &deps.supervisor,
            metrics.fairness.clone(),
        );
        Self {
            fairness,
            metrics,
            health: Health::default(),
            discovery: Discovery::default(),
            openapi: OpenApi::default(),
            usage: Usage::default(),
            audit: None,
            commit: "",
            limits,
            deps,
        }
    }
}
