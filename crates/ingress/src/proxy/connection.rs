//! One listening port: its connections, each with its limits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use base::Shutdown;
use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::gauge::Gauge;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::body::BoxError;
use super::clients::Clients;
use super::forward::Forwarder;
use super::headers::Client;
use super::response::ResponseBody;
use super::stall::Steady;
use crate::limits::Limits;

/// A client that has gone without a word is asked for by the kernel after this time of silence.
const SILENCE: Duration = Duration::from_secs(60);
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What all connections of a port share.
pub(super) struct Port {
    shared: Arc<Shared>,
    number: u16,
    is_secure: bool,
    http: auto::Builder<TokioExecutor>,
}

/// Counts the requests of one connection.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request of a connection, to the end of its response.
struct InProgress(Arc<Activity>);

impl InProgress {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of a response whose request counts until its end.
struct Answering {
    body: ResponseBody,
    _request: InProgress,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection of a client, for as long as it is open.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Activity {
    /// Waits until a whole `patience` has passed without a request.
    async fn ceased(&self, patience: Duration) {
        let mut before = None;
        loop {
            let (begun, ended) = (self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed));
            let now = (begun == ended).then_some(begun);
            if before.is_some() && now == before {
                return;
            }
            before = now;
            tokio::time::sleep(patience).await;
        }
    }
}

impl Port {
    pub fn new(shared: Arc<Shared>, number: u16, is_secure: bool) -> Arc<Self> {
        let http = http_builder(&shared.dialer.limits);
        Arc::new(Self { shared, number, is_secure, http })
    }

    /// Serves until `shutdown` starts; then requests in progress end, or are ended.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, clients: Clients, shutdown: Shutdown) {
        let limits = &self.shared.dialer.limits;
        let accepting = serving::Limits {
            server: "ingress",
            connections: limits.connections,
            excess: serving::Excess::Closed,
        };
        let mut connections = serving::accept(listener, accepting, &shutdown, |socket, peer| {
            Arc::clone(&self).converse(socket, peer, clients.clone(), shutdown.clone())
        })
        .await;
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(limits.drain, all_ended).await.is_err() {
            tracing::info!(left = connections.len(), "connections still open at the stop are closed");
        }
        connections.shutdown().await;
    }

    async fn converse(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        clients: Clients,
        shutdown: Shutdown,
    ) {
        let limits = &self.shared.dialer.limits;
        let Some(_place) = clients.enter(peer.ip(), limits) else {
            self.shared.metrics.refused.inc();
            tracing::debug!(%peer, "there are too many connections; this one is closed");
            return;
        };
        if let Err(error) = notice_loss(&socket) {
            tracing::debug!(%error, "cannot set a connection's options");
        }
        let _counted = Counted::new(&self.shared.metrics.connections);
        if !self.is_secure {
            self.talk(socket, peer, &shutdown).await;
            return;
        }
        let acceptor = TlsAcceptor::from(self.shared.certificates.config());
        match timeout(limits.head_patience, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => self.talk(stream, peer, &shutdown).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
    }

    async fn talk<S>(&self, stream: S, peer: SocketAddr, shutdown: &Shutdown)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.shared.dialer.limits;
        let activity: Arc<Activity> = Arc::default();
        let client = Client::new(peer.ip(), self.number, self.is_secure);
        let forwarder = Forwarder { shared: Arc::clone(&self.shared), client, tunnel: Default::default() };
        let forwarder = Arc::new(forwarder);
        let served = async {
            let service = service_fn(|request: Request<Incoming>| {
                let forwarder = Arc::clone(&forwarder);
                let request_counted = InProgress::new(&activity);
                async move {
                    let response = forwarder.answer(request).await;
                    Ok::<_, Infallible>(response.map(|body| Answering { body, _request: request_counted }))
                }
            });
            let stream = TokioIo::new(Steady::new(stream, limits.stall_patience));
            let connection = self.http.serve_connection_with_upgrades(stream, service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop(&activity, limits.head_patience, shutdown) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended");
            }
        };
        served.await;
        let tunnel = forwarder.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tunnel) = tunnel {
            tokio::select! {
                () = tunnel.run() => {}
                () = shutdown.started() => {}
            }
        }
    }
}

/// Waits until a connection is to end: it has had no request for so long, or all stops.
async fn stop(activity: &Activity, patience: Duration, shutdown: &Shutdown) {
    tokio::select! {
        () = activity.ceased(patience) => {}
        () = shutdown.started() => {}
    }
}

fn http_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_patience)
        .max_buf_size(limits.header_bytes.max(8192))
        .max_headers(limits.headers)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .enable_connect_protocol()
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(limits.resets)
        .max_local_error_reset_streams(limits.resets)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// Has the kernel end connections whose other side is gone.
fn notice_loss(socket: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, SILENCE / 4)?;
    sockopt::set_tcp_keepcnt(socket, 4)?;
    Ok(())
}
