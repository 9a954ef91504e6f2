//! The reverse proxy: clients' connections, and their requests on the way to endpoints.
//!
//! Start with [`Proxy`]. [`connection`] owns a port's connections with their limits, `forward` is a request's way,
//! [`pool`](Pool) divides requests among the endpoints of a Service, `endpoint` keeps connections to one of them,
//! `headers` changes what is to be changed, `redirect` sends clients to HTTPS, `tunnel` is a connection after an upgrade, to
//! which `extended` makes a stream of HTTP/2.
//!
//! Never here: an object of the API. Who knows them replaces the router's rules and the pools' endpoints.

mod answer;
mod body;
mod clients;
mod connection;
mod endpoint;
mod extended;
mod forward;
mod headers;
mod pool;
mod redirect;
mod response;
mod single;
mod stall;
mod tunnel;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base::{Shutdown, Supervisor};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::metrics::{Answers, Metrics};
use crate::router::Router;
use crate::tls::Certificates;
use crate::translate::endpoints::Offer;
use crate::translate::manner::Manner;
use clients::Clients;
use connection::Port;
use endpoint::Dialer;
pub use pool::Pool;

/// The golden ratio's part of 2^32: multiples of it lie evenly, however many are taken.
const STEP: u32 = 0x9E37_79B9;

/// What the proxy works with.
pub(crate) struct Shared {
    router: Arc<Router<Arc<Pool>>>,
    certificates: Arc<Certificates>,
    dialer: Arc<Dialer>,
    metrics: Metrics,
    /// Counts requests that no rule takes.
    unrouted: Arc<Answers>,
    /// Where clients find the hosts over TLS.
    https_port: u16,
    rolled: AtomicU32,
}

impl Shared {
    fn roll(&self) -> u32 {
        self.rolled.fetch_add(STEP, Ordering::Relaxed)
    }
}

/// The proxy. Clones share all.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    clients: Clients,
}

/// What a proxy is built from.
pub struct ProxyDeps {
    pub certificates: Arc<Certificates>,
    pub limits: Limits,
    pub metrics: Metrics,
    /// The port of HTTPS, as clients know it.
    pub https_port: u16,
    /// Runs the connections to endpoints.
    pub supervisor: Supervisor,
}

impl Proxy {
    /// A proxy without a rule and without a port.
    ///
    /// # Errors
    /// When the cryptography lacks what TLS needs.
    pub fn new(deps: ProxyDeps) -> Result<Self, serving::TlsError> {
        let ProxyDeps { certificates, limits, metrics, https_port, supervisor } = deps;
        let tls = |protocol: &[u8]| {
            let mut config = rustls::ClientConfig::clone(&*serving::unverified_client()?);
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok::<_, serving::TlsError>(Arc::new(config))
        };
        let slots = Arc::new(Semaphore::new(limits.backend_connections));
        let tls = [tls(b"http/1.1")?, tls(b"h2")?];
        let dialer = Arc::new(Dialer { limits, supervisor, tls, slots });
        let unrouted = metrics.of_service("", "");
        let router = Arc::default();
        let rolled = AtomicU32::new(0);
        let shared = Shared { router, certificates, dialer, metrics, unrouted, https_port, rolled };
        Ok(Self { shared: Arc::new(shared), clients: Clients::default() })
    }

    /// The rules, to be replaced while requests are served.
    pub fn router(&self) -> &Arc<Router<Arc<Pool>>> {
        &self.shared.router
    }

    /// A pool for a Service's requests, to be led to by rules.
    pub fn pool(&self, namespace: &str, service: &str, manner: Manner, offer: Offer) -> Pool {
        let answers = self.shared.metrics.of_service(namespace, service);
        Pool::new(Arc::clone(&self.shared.dialer), answers, manner, offer)
    }

    /// Serves a port until `shutdown` starts; then requests in progress end, or are ended. `number` is the port as
    /// clients know it.
    pub async fn serve(self, listener: TcpListener, number: u16, is_secure: bool, shutdown: Shutdown) {
        let port = Port::new(self.shared, number, is_secure);
        port.serve(listener, self.clients, shutdown).await;
    }
}
