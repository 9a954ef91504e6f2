//! Groups and versions that other servers serve, as registered (`apiregistration.k8s.io`). Upstream: `kube-aggregator`.
//!
//! Start with [`Aggregator`]: it follows what is registered ([`registry`]), finds the server of a request, and sends
//! requests to servers over connections that it keeps (`clients`), as the front proxy that [`FrontProxy`] identifies.
//! Requests of clients are forwarded by `crates/apiserver/src/proxy/aggregated.rs`. Whether a server is available is said
//! by a controller, which asks [`Aggregator::check`].

mod clients;
pub(crate) mod discovered;
mod discoverer;
mod kinds;
pub(crate) mod registry;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::GroupVersion;
use arc_swap::ArcSwap;
use base::{Supervisor, TaskKind};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::sync::{Notify, watch};

use clients::Clients;
pub use clients::FrontProxy;
use discovered::Discovered;
use discoverer::Discoverer;
pub use kinds::AllKinds;
use registry::{Registered, Registry, Server};

use crate::body::RequestBody;
use crate::cache::follow::{self, Follower};
use crate::cache::lookup::{Lookup, decode};
use crate::cache::{Cache, CacheError, Entry, EventKind, WatchEvent};
use crate::identity::authn::request_header;
use crate::request::User;
use crate::webhook::{Resolve, ServiceRef, failure};

/// How long a server may take to answer when it is asked about itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest document of a server about itself, in bytes.
const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// How many attempts more are made, all at once, when the first has failed: a Service may have an endpoint that answers
/// and others that do not.
const MORE_ATTEMPTS: usize = 4;

/// See the module's documentation. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Aggregator {
    registrations: Arc<Registrations>,
    reach: Reach,
    follower: Follower,
    discovered: watch::Receiver<Arc<Discovered>>,
}

/// What is registered, by name, and the same as requests need it.
#[derive(Default)]
struct Registrations {
    known: Mutex<BTreeMap<String, Arc<Registered>>>,
    registry: Arc<ArcSwap<Registry>>,
    changed: Arc<Notify>,
}

/// The way to servers.
#[derive(Clone)]
struct Reach {
    resolve: Arc<dyn Resolve>,
    clients: Arc<Clients>,
}

/// Why a request was not answered by a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Its Service leads nowhere.
    #[error("{0}")]
    Unresolved(String),
    /// What it is to be known by cannot be used.
    #[error("{0}")]
    Untrusted(String),
    /// It cannot be reached, or breaks off.
    #[error("{0}")]
    Unreached(String),
}

impl Reach {
    async fn send(
        &self,
        server: &Arc<Server>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let (host, port) = server.service.resolved(&*self.resolve).map_err(Unanswered::Unresolved)?;
        let client = self.clients.of(server).map_err(Unanswered::Untrusted)?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        *request.uri_mut() = url(&host, port, &path).map_err(Unanswered::Unreached)?;
        client.request(request).await.map_err(|error| Unanswered::Unreached(failure::cause(&error)))
    }

    /// A document of the server about itself: status, media type and content.
    async fn get(
        &self,
        server: &Arc<Server>,
        path: &str,
        accept: HeaderValue,
    ) -> Result<(StatusCode, String, Bytes), String> {
        let exchange = async {
            let uri = path.parse().map_err(|_| format!("{path:?} is no path"))?;
            let mut request = own_request(uri)?;
            request.headers_mut().insert(ACCEPT, accept);
            let response = self.send(server, request).await.map_err(|why| why.to_string())?;
            let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let kind = kind.unwrap_or_default().replace(' ', "");
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect().await;
            Ok((status, kind, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err("request timed out".to_owned()))
    }
}

impl Aggregator {
    /// Follows what is registered, until the supervisor's shutdown.
    ///
    /// # Errors
    /// When the watch cache does not hold registrations.
    pub fn start(
        cache: &Cache,
        resolve: Arc<dyn Resolve>,
        identity: Arc<FrontProxy>,
        supervisor: &Supervisor,
    ) -> Result<Self, CacheError> {
        let lookup = Lookup::new(cache.clone());
        let source = lookup.resource("apiregistration.k8s.io", "apiservices").ok_or(CacheError::Closed)?;
        let registrations = Arc::<Registrations>::default();
        let index = Arc::clone(&registrations);
        let follower = follow::follow(index, vec![source], supervisor, "registered-servers");
        let reach = Reach { resolve, clients: Arc::new(Clients::new(identity, supervisor)) };
        let (found, discovered) = watch::channel(Arc::default());
        let discoverer = Discoverer {
            reach: reach.clone(),
            registry: Arc::clone(&registrations.registry),
            changed: Arc::clone(&registrations.changed),
            found,
        };
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Essential, "servers-discovery", async move {
            tokio::select! {
                () = shutdown.started() => {}
                () = discoverer.run() => {}
            }
        });
        Ok(Self { registrations, reach, follower, discovered })
    }

    /// What other servers say they serve.
    pub(crate) fn discovered(&self) -> Arc<Discovered> {
        Arc::clone(&self.discovered.borrow())
    }

    /// Waits until everything counts that the watch cache holds by now.
    pub async fn settled(&self) {
        self.follower.settled().await;
    }

    /// What is registered now.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registrations.registry.load_full()
    }

    /// Whether any other server is registered.
    pub(crate) fn has_remotes(&self) -> bool {
        !self.registrations.registry.load().remotes().is_empty()
    }

    /// The registration of a group and version that another server serves.
    pub(crate) fn remote(&self, group: &str, version: &str) -> Option<Arc<Registered>> {
        self.registrations.registry.load().remote(group, version).cloned()
    }

    /// Sends a request to one of the server's endpoints; its URI is the path alone. Cancellation safe.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn send(
        &self,
        server: &Arc<Server>,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        self.reach.send(server, request).await
    }

    /// The server's OpenAPI v2 document, as JSON. Cancellation safe.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn openapi_v2(&self, server: &Arc<Server>) -> Result<Bytes, String> {
        let json = HeaderValue::from_static("application/json");
        match self.reach.get(server, "/openapi/v2", json).await? {
            (StatusCode::OK, _, document) => Ok(document),
            // One that has no document of this version describes nothing in it.
            (StatusCode::NOT_FOUND, ..) => Ok(Bytes::from_static(b"{}")),
            (status, ..) => Err(format!("failed to retrieve openAPI spec, http error: {status}")),
        }
    }

    /// Whether the server behind a Service serves a group and version, whatever certificate it shows: who owns the
    /// network and lies about it gains nothing. Cancellation safe.
    ///
    /// # Errors
    /// Why it does not, in upstream's words.
    pub async fn check(
        &self,
        (namespace, name, port): (&str, &str, u16),
        gv: &GroupVersion,
    ) -> Result<(), String> {
        let service = ServiceRef { namespace: namespace.to_owned(), name: name.to_owned(), port };
        let server = Arc::new(Server { service, ca_bundle: Vec::new(), insecure: true });
        let path = if gv.group.is_empty() { format!("/api/{}", gv.version) } else { format!("/apis/{gv}") };
        let Err(mut why) = self.attempt(&server, &path).await else { return Ok(()) };
        let mut more: FuturesUnordered<_> =
            (0..MORE_ATTEMPTS).map(|_| self.attempt(&server, &path)).collect();
        while let Some(attempt) = more.next().await {
            match attempt {
                Ok(()) => return Ok(()),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn attempt(&self, server: &Arc<Server>, path: &str) -> Result<(), String> {
        let (host, port) = server.service.resolved(&*self.reach.resolve)?;
        let uri = url(&host, port, path)?;
        let failing = |why: String| format!("failing or missing response from {uri}: {why}");
        let client = self.reach.clients.of(server)?;
        let request = own_request(uri.clone()).map_err(failing)?;
        let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
        let get = |why: &str| failing(format!("Get {:?}: {why}", uri.to_string()));
        let answer = answer
            .map_err(|_| get("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))?
            .map_err(|error| get(&failure::cause(&error)))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(failing(format!("bad status from {uri}: {}", status.as_u16()))),
        }
    }
}

/// A request of this server's own, as upstream's aggregator asks servers about themselves.
fn own_request(uri: Uri) -> Result<Request<RequestBody>, String> {
    let aggregator = User {
        name: "system:kube-aggregator".to_owned(),
        groups: vec!["system:masters".to_owned()],
        ..User::default()
    };
    let mut request = Request::new(RequestBody::default());
    *request.method_mut() = Method::GET;
    if let Some(authority) = uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = uri;
    request_header::write(request.headers_mut(), &aggregator).map_err(|error| error.message)?;
    Ok(request)
}

fn url(host: &str, port: u16, path: &str) -> Result<Uri, String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let text = format!("https://{host}:{port}{path}");
    text.parse().map_err(|error| format!("{text:?} is no URL: {error}"))
}

impl Registrations {
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Registered>>)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        self.registry.store(Arc::new(Registry::new(known.values().cloned())));
        self.changed.notify_one();
    }
}

impl follow::Index for Registrations {
    fn replace(&self, _: usize, entries: &[Arc<Entry>]) {
        self.change(|known| {
            *known =
                entries.iter().filter_map(|entry| Some((entry.name().to_owned(), read(entry)?))).collect();
        });
    }

    fn apply(&self, _: usize, events: &[WatchEvent]) {
        self.change(|known| {
            for event in events {
                let entry = event.object();
                match (event.kind, read(entry)) {
                    (EventKind::Deleted, _) | (_, None) => drop(known.remove(entry.name())),
                    (_, Some(registered)) => drop(known.insert(entry.name().to_owned(), registered)),
                }
            }
        });
    }
}

fn read(entry: &Entry) -> Option<Arc<Registered>> {
    Some(Arc::new(Registered::read(&decode(entry)?)))
}
