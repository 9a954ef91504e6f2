//! Accepts connections, performs the TLS handshake and serves HTTP/1.1 and HTTP/2, within limits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Shutdown;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::net::sockopt;
use rustls::pki_types::{CertificateDer, UnixTime};
use serving::ServerTls;
use tokio::net::{TcpListener, TcpStream};

use super::pipeline;
use crate::body::Gathered;
use crate::context::Context;
use crate::request::call::{Certificate, Peer};

/// A client that has gone without a word is asked for by the kernel after this time of silence.
const SILENCE: Duration = Duration::from_secs(60);
/// How long open requests may go on after the stop has begun.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until the stop, then lets open requests end.
pub(super) async fn serve(
    context: Arc<Context>,
    listener: TcpListener,
    tls: Arc<ServerTls>,
    shutdown: Shutdown,
) {
    let limits = serving::Limits {
        server: "API server",
        connections: context.limits.connections,
        excess: serving::Excess::Closed,
    };
    let listening = Arc::new(Listening { http: http_builder(&context), tls, context });
    let graceful = GracefulShutdown::new();
    let mut connections = serving::accept(listener, limits, &shutdown, |socket, address| {
        Arc::clone(&listening).converse(socket, address, graceful.watcher())
    })
    .await;
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::info!(left = connections.len(), "connections still open at the stop are closed");
    }
    connections.shutdown().await;
}

/// What all connections of a listener share.
struct Listening {
    context: Arc<Context>,
    tls: Arc<ServerTls>,
    http: auto::Builder<TokioExecutor>,
}

impl Listening {
    /// Serves one connection to its end.
    async fn converse(self: Arc<Self>, socket: TcpStream, address: SocketAddr, watcher: Watcher) {
        let Some((stream, certificate)) = handshake(&self.context, &self.tls, socket).await else {
            return;
        };
        let peer = Arc::new(Peer::remote(address, certificate));
        let asked = AtomicBool::new(false);
        let service = service_fn(|request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let (context, peer) = (Arc::clone(&self.context), Arc::clone(&peer));
            async move {
                let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                Ok::<_, Infallible>(pipeline::serve(context, peer, request).await.map(Gathered::new))
            }
        });
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut served = std::pin::pin!(watcher.watch(connection));
        let ended = match tokio::time::timeout(self.context.limits.patience, &mut served).await {
            Ok(ended) => ended,
            // Which protocol is spoken shows with the first bytes: until then nothing else limits the wait.
            Err(_) if !asked.load(Ordering::Relaxed) => {
                tracing::debug!(%address, "no request came; the connection is closed");
                return;
            }
            Err(_) => served.await,
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "connection ended");
        }
    }
}

fn http_builder(context: &Context) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Without `pipeline_flush`: it holds back the answer to a request that cannot be read, as the rest of the request
    // still waits to be read.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(context.limits.patience)
        .max_buf_size(context.limits.header_bytes.max(8192))
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(context.limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(context.limits.streams_per_connection)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024);
    builder
}

/// Has the kernel end connections whose other side is gone: watches of lost clients would hold their places.
fn notice_loss(socket: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, SILENCE / 4)?;
    sockopt::set_tcp_keepcnt(socket, 4)?;
    Ok(())
}

/// The TLS handshake, and what the client's certificate is worth. `None` when there is no connection.
async fn handshake(
    context: &Context,
    tls: &ServerTls,
    socket: TcpStream,
) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, Certificate)> {
    if let Err(error) = notice_loss(&socket) {
        tracing::debug!(%error, "cannot set a connection's options");
    }
    let stream = tls.handshake(socket, context.limits.patience).await?;
    let chain: &[CertificateDer<'_>] = stream.get_ref().1.peer_certificates().unwrap_or(&[]);
    let certificate = match chain.first() {
        None => Certificate::Absent,
        Some(leaf) => {
            let now = Duration::from_secs(u64::try_from(context.deps.clock.now().as_second()).unwrap_or(0));
            let now = UnixTime::since_unix_epoch(now);
            let proxies = context.deps.request_headers.as_ref();
            match tls.verify_client(chain, now) {
                _ if proxies.is_some_and(|proxies| proxies.is_proxy(chain, now)) => Certificate::FrontProxy,
                Ok(()) => Certificate::Verified(leaf.clone().into_owned()),
                Err(error) => {
                    tracing::debug!(%error, "a client certificate does not verify");
                    Certificate::Rejected
                }
            }
        }
    };
    Some((stream, certificate))
}
