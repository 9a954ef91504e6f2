//! [`Ground`]: a running proxy with its rules, [`Backend`]: a server behind it, and clients.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::{Shutdown, Supervisor};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use ingress::limits::Limits;
use ingress::metrics::Metrics;
use ingress::proxy::{Pool, Proxy, ProxyDeps};
use ingress::router::{Conditions, PathMatch, Pattern, Rule, Site, Split};
use ingress::tls::Certificates;
use ingress::translate::backend::Wire;
use ingress::translate::endpoints::{Lack, Offer};
use ingress::translate::manner::Manner;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// No test takes longer than that.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A running proxy.
pub struct Ground {
    pub proxy: Proxy,
    pub certificates: Arc<Certificates>,
    pub plain: SocketAddr,
    pub secure: SocketAddr,
    pub shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl Ground {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let shutdown = Shutdown::new();
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        let certificates = Arc::new(Certificates::new(now).expect("a certificate"));
        let deps = ProxyDeps {
            certificates: certificates.clone(),
            limits,
            metrics: Metrics::default(),
            https_port: 443,
            supervisor: Supervisor::new(shutdown.clone()),
        };
        let proxy = Proxy::new(deps).expect("a proxy");
        let mut tasks = JoinSet::new();
        let mut at = Vec::new();
        for (number, is_secure) in [(80, false), (443, true)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            at.push(listener.local_addr().expect("bound"));
            let (proxy, shutdown) = (proxy.clone(), shutdown.clone());
            tasks.spawn(async move { proxy.serve(listener, number, is_secure, shutdown).await });
        }
        Self { proxy, certificates, plain: at[0], secure: at[1], shutdown, tasks }
    }

    /// Leads all requests for a host to a pool of these backends.
    pub fn lead(&self, host: &str, wire: Wire, backends: &[&Backend]) -> Arc<Pool> {
        let addresses: Vec<SocketAddr> = backends.iter().map(|backend| backend.address).collect();
        self.lead_to(host, wire, &addresses)
    }

    pub fn lead_to(&self, host: &str, wire: Wire, addresses: &[SocketAddr]) -> Arc<Pool> {
        self.lead_in(host, wire, Manner::default(), addresses)
    }

    pub fn lead_in(&self, host: &str, wire: Wire, manner: Manner, addresses: &[SocketAddr]) -> Arc<Pool> {
        let pool = Arc::new(self.proxy.pool("ns", "service", manner, offer(wire, addresses)));
        let mut site = Site::default();
        site.add(Rule {
            path: PathMatch::Prefix("/".into()),
            conditions: Conditions::default(),
            to: Split::whole(pool.clone()),
        });
        self.proxy.router().replace(&Pattern::parse(host), Some(site));
        pool
    }

    pub async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.plain).await.expect("connected")
    }

    /// Stops, and waits until all has ended.
    pub async fn stop(mut self) {
        self.shutdown.start();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("the proxy stops in time");
    }
}

pub fn offer(wire: Wire, addresses: &[SocketAddr]) -> Offer {
    let lack = addresses.is_empty().then_some(Lack::Ready);
    Offer { wire, endpoints: addresses.iter().copied().collect(), lack }
}

/// Sends bytes and returns all that comes until the other side ends.
pub async fn exchange(mut socket: TcpStream, sent: &str) -> String {
    // The proxy may refuse what comes while it is sent.
    let _ = socket.write_all(sent.as_bytes()).await;
    read_all(&mut socket).await
}

pub async fn read_all(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    // A reset ends a connection as well.
    let _ = read.expect("the connection ends in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request over a connection of its own; status and text.
pub async fn get(ground: &Ground, host: &str, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = exchange(ground.raw().await, &request).await;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let text = answer.split_once("\r\n\r\n").map(|(_, text)| text.to_owned()).unwrap_or_default();
    (status, text)
}

/// A server behind the proxy, for HTTP/1.1 and HTTP/2 without TLS.
pub struct Backend {
    pub address: SocketAddr,
    /// Connections taken so far.
    pub connections: Arc<AtomicUsize>,
    stop: Shutdown,
    tasks: JoinSet<()>,
}

impl Backend {
    pub async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let stop = Shutdown::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, connections.clone(), stop.clone(), answer));
        Self { address, connections, stop, tasks }
    }

    /// A server that says its name.
    pub async fn named(name: &'static str) -> Self {
        Self::start(move |_| async move { Response::new(text(name)) }).await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Takes no connection any more, ends those without a request, and waits until the others have ended.
    pub async fn stop(mut self) {
        self.stop.start();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("the server stops in time");
    }
}

async fn serve<F, R>(listener: TcpListener, count: Arc<AtomicUsize>, stop: Shutdown, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = tokio::select! {
            accepted = listener.accept() => accepted.expect("accepted"),
            () = stop.started() => break,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let answer = answer.clone();
        let watcher = graceful.watcher();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
            // How a connection ends is the proxy's business.
            let _ = watcher.watch(connection).await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

pub fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

pub const HTTP: Wire = Wire { tls: false, h2: false };
pub const H2C: Wire = Wire { tls: false, h2: true };
