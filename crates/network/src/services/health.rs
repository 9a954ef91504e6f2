//! The health check ports: load balancers outside ask there whether this machine has endpoints of a Service whose
//! clients are to stay on their node (`externalTrafficPolicy: Local`).
//!
//! Start with [`HealthPorts`]. The answer is upstream's (`pkg/proxy/healthcheck/service_health.go`), to any request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base::Shutdown;
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

const LIMITS: serving::Limits =
    serving::Limits { server: "health check port", connections: 64, excess: serving::Excess::Closed };
/// For a client to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
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
    served: HashMap<Key, Served>,
    /// Whether the kernel takes what it is told.
    is_healthy: Arc<AtomicBool>,
    shutdown: Shutdown,
}

struct Served {
    port: u16,
    local: Arc<AtomicUsize>,
    server: JoinSet<()>,
}

impl HealthPorts {
    /// None yet; all end with `shutdown`, or with what is returned.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { served: HashMap::new(), is_healthy: Arc::default(), shutdown }
    }

    /// Has all ports say whether the proxy works.
    pub fn tell(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Relaxed);
    }

    /// Serves what has changed. A port that cannot be taken is reported and left out.
    pub async fn change(&mut self, changes: Vec<(Key, Option<Health>)>) {
        // A port may go from one Service to another.
        for (service, health) in &changes {
            let keeps = |served: &Served| health.is_some_and(|health| health.port == served.port);
            if self.served.get(service).is_some_and(|served| !keeps(served))
                && let Some(mut served) = self.served.remove(service)
            {
                served.server.shutdown().await;
            }
        }
        for (service, health) in changes {
            let Some(health) = health else { continue };
            match self.served.get(&service) {
                Some(served) => served.local.store(health.local, Ordering::Relaxed),
                None => self.serve(service, health).await,
            }
        }
    }

    async fn serve(&mut self, service: Key, health: Health) {
        let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, health.port)).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%service, port = health.port, %error, "the health check port cannot be served");
                return;
            }
        };
        let local = Arc::new(AtomicUsize::new(health.local));
        let said = Arc::new(Said {
            service: service.clone(),
            local: local.clone(),
            is_healthy: self.is_healthy.clone(),
        });
        let shutdown = self.shutdown.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let open =
                serving::accept(listener, LIMITS, &shutdown, |socket, _| converse(socket, said.clone()));
            open.await.shutdown().await;
        });
        self.served.insert(service, Served { port: health.port, local, server });
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
