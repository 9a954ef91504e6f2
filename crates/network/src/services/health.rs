//! The health check ports: load balancers outside ask there whether this machine has endpoints of a Service whose
//! clients are to stay on their node (`externalTrafficPolicy: Local`).
//!
//! Start with [`HealthPorts`]. The answer is upstream's (`pkg/proxy/healthcheck/service_health.go`), to any request. The
//! ports are on the addresses that node ports are on.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use informer::Key;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::notices::Notice;

const LIMITS: serving::Limits =
    serving::Limits { server: "health check port", connections: 64, excess: serving::Excess::Closed };
/// For a client to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a port was found taken it is tried again.
const BACKOFF: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));
const WEIGHT: &str = "x-load-balancing-endpoint-weight";

/// What a Service's health check port says, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    pub port: u16,
    /// Ready endpoints on this machine.
    pub local: usize,
}

/// The ports that are served.
pub(super) struct HealthPorts {
    /// The node, as its users know it.
    node: String,
    /// The machine's addresses that the ports are on.
    addresses: Vec<Ipv4Addr>,
    served: HashMap<Key, Served>,
    /// Ports that others have taken.
    taken: Taken,
    notices: Vec<Notice>,
    /// Whether the kernel takes what it is told.
    is_healthy: Arc<AtomicBool>,
    shutdown: Shutdown,
}

struct Served {
    port: u16,
    local: Arc<AtomicUsize>,
    server: JoinSet<()>,
}

/// What is tried again: nobody says when a port is free.
#[derive(Default)]
struct Taken {
    ports: HashMap<Key, Health>,
    failures: u32,
    next: Option<Instant>,
}

impl Taken {
    /// When to try again, after some failed.
    fn postpone(&mut self) {
        self.failures = if self.ports.is_empty() { 0 } else { self.failures.saturating_add(1) };
        self.next = (!self.ports.is_empty()).then(|| Instant::now() + BACKOFF.delay(self.failures));
    }
}

impl HealthPorts {
    /// None yet; all end with `shutdown`, or with what is returned.
    pub fn new(node: String, shutdown: Shutdown) -> Self {
        Self {
            node,
            addresses: Vec::new(),
            served: HashMap::new(),
            taken: Taken::default(),
            notices: Vec::new(),
            is_healthy: Arc::default(),
            shutdown,
        }
    }

    /// Has all ports say whether the proxy works.
    pub fn tell(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Relaxed);
    }

    /// Has all ports be on these addresses of the machine.
    pub async fn listen_on(&mut self, addresses: Vec<Ipv4Addr>) {
        if self.addresses == addresses {
            return;
        }
        self.addresses = addresses;
        let served: Vec<(Key, Served)> = self.served.drain().collect();
        for (service, mut served) in served {
            served.server.shutdown().await;
            let health = Health { port: served.port, local: served.local.load(Ordering::Relaxed) };
            self.serve(service, health).await;
        }
        self.taken.postpone();
    }

    /// Serves what has changed. A port that cannot be taken is reported, and tried again later.
    pub async fn change(&mut self, changes: Vec<(Key, Option<Health>)>) {
        // A port may go from one Service to another.
        for (service, health) in &changes {
            let port = health.map(|health| health.port);
            self.taken.ports.retain(|other, health| other != service || Some(health.port) == port);
            if self.served.get(service).is_some_and(|served| Some(served.port) != port)
                && let Some(mut served) = self.served.remove(service)
            {
                served.server.shutdown().await;
            }
        }
        for (service, health) in changes {
            let Some(health) = health else { continue };
            match (self.served.get(&service), self.taken.ports.get_mut(&service)) {
                (Some(served), _) => served.local.store(health.local, Ordering::Relaxed),
                (None, Some(taken)) => *taken = health,
                (None, None) => self.serve(service, health).await,
            }
        }
        if self.taken.ports.is_empty() || self.taken.next.is_none() {
            self.taken.postpone();
        }
    }

    /// Waits until it is time to try ports again that were taken, and tries. Cancellation safe.
    pub async fn try_again(&mut self) {
        match self.taken.next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
        for (service, health) in self.taken.ports.clone() {
            if let Ok(served) = self.open(&service, health).await {
                self.taken.ports.remove(&service);
                self.served.insert(service, served);
            }
        }
        self.taken.postpone();
    }

    /// What could not be done.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    async fn serve(&mut self, service: Key, health: Health) {
        match self.open(&service, health).await {
            Ok(served) => drop(self.served.insert(service, served)),
            Err(error) => {
                let (node, port) = (&self.node, health.port);
                // Upstream's (`pkg/proxy/healthcheck/service_health.go`).
                let message =
                    format!("node {node} failed to start healthcheck \"{service}\" on port {port}: {error}");
                let reason = "FailedToStartServiceHealthcheck";
                self.notices.push(Notice { service: service.clone(), reason, message });
                self.taken.ports.insert(service, health);
            }
        }
    }

    async fn open(&self, service: &Key, health: Health) -> io::Result<Served> {
        let mut listeners = Vec::new();
        for address in &self.addresses {
            listeners.push(TcpListener::bind((*address, health.port)).await?);
        }
        let local = Arc::new(AtomicUsize::new(health.local));
        let said = Arc::new(Said {
            service: service.clone(),
            local: local.clone(),
            is_healthy: self.is_healthy.clone(),
        });
        let mut server = JoinSet::new();
        for listener in listeners {
            let (shutdown, said) = (self.shutdown.clone(), said.clone());
            server.spawn(async move {
                let open =
                    serving::accept(listener, LIMITS, &shutdown, |socket, _| converse(socket, said.clone()));
                open.await.shutdown().await;
            });
        }
        Ok(Served { port: health.port, local, server })
    }
}

/// What the port of one Service says.
struct Said {
    service: Key,
    local: Arc<AtomicUsize>,
    is_healthy: Arc<AtomicBool>,
}

async fn converse(socket: TcpStream, said: Arc<Said>) {
    let service = service_fn(|_: Request<Incoming>| {
        let answer = said.answer();
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to a health check port ended");
    }
}

impl Said {
    fn answer(&self) -> Response<Full<Bytes>> {
        let (local, is_healthy) =
            (self.local.load(Ordering::Relaxed), self.is_healthy.load(Ordering::Relaxed));
        let Key { namespace, name } = &self.service;
        // Names need no escapes.
        let text = format!(
            "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \"{name}\"\n\t}},\n\
             \t\"localEndpoints\": {local},\n\t\"serviceProxyHealthy\": {is_healthy}\n}}"
        );
        let mut response = Response::new(Full::new(Bytes::from(text)));
        if local == 0 || !is_healthy {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, hyper::header::HeaderValue::from_static("nosniff"));
        headers.insert(WEIGHT, local.into());
        response
    }
}
