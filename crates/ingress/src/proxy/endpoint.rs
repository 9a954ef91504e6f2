//! [`Endpoint`]: one address behind a Service, with the connections that are kept to it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use base::{Shutdown, Supervisor, TaskKind};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, timeout};
use tokio_rustls::TlsConnector;

use super::body::{RequestBody, Sent};
use super::single::Single;
use super::stall::Steady;
use crate::limits::Limits;
use crate::translate::backend::Wire;
use crate::translate::manner::Manner;

/// How long an endpoint that could not be reached is asked last.
const SHUNNED: Duration = Duration::from_secs(2);
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Why an endpoint could not be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("connecting to the endpoint: {0}")]
    Io(#[from] io::Error),
    #[error("connecting to the endpoint: {0}")]
    Http(#[from] hyper::Error),
    #[error("the endpoint took too long to accept a connection")]
    Slow,
    #[error("the proxy has too many connections to endpoints")]
    Full,
}

/// What connections to endpoints are made with.
pub(super) struct Dialer {
    pub limits: Limits,
    pub supervisor: Supervisor,
    /// HTTP/1.1 and HTTP/2.
    pub tls: [Arc<ClientConfig>; 2],
    pub slots: Arc<Semaphore>,
}

/// One address behind a Service.
pub struct Endpoint {
    address: SocketAddr,
    wire: Wire,
    manner: Manner,
    dialer: Arc<Dialer>,
    in_progress: AtomicUsize,
    /// Gets no new request.
    is_retired: AtomicBool,
    shunned_until: Mutex<Option<Instant>>,
    kept: Mutex<Kept>,
    /// The connection that all requests share where HTTP/2 is spoken.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<RequestBody>>>,
}

/// Connections of HTTP/1.1 without a request, the one used last at the end.
#[derive(Default)]
struct Kept {
    connections: VecDeque<(Instant, Single)>,
    /// A task closes those that are kept too long.
    is_swept: bool,
}

/// A connection that takes a request now.
pub(super) enum Connection {
    One(Single),
    Shared(http2::SendRequest<RequestBody>),
}

/// What a request in progress holds of its endpoint.
pub struct Lease {
    _progress: Progress,
    endpoint: Arc<Endpoint>,
    connection: Option<Single>,
    sent: Option<Arc<Sent>>,
}

/// Counts a request while it is in progress.
struct Progress(Arc<Endpoint>);

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lease {
    /// The response is over: the connection takes another request, if all of this one has been sent.
    pub(super) fn give_back(mut self) {
        if self.sent.as_ref().is_none_or(|sent| sent.is_over())
            && let Some(connection) = self.connection.take()
        {
            self.endpoint.keep(connection);
        }
    }

    /// The response has begun on this connection. What still moves on it besides the response's body gets a task of its
    /// own: the rest of the request, and whatever follows a change of protocols.
    pub(super) fn holds(&mut self, connection: Connection, response: &Response<Incoming>) {
        let Connection::One(mut single) = connection else { return };
        let is_sent = self.sent.as_ref().is_none_or(|sent| sent.is_over());
        if (!is_sent || response.status() == StatusCode::SWITCHING_PROTOCOLS)
            && let Some((slot, driver)) = single.detach()
        {
            self.endpoint.drive(slot, driver);
        }
        self.connection = Some(single);
    }

    /// Moves what is there for the response's body.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.drive(cx);
        }
    }
}

impl Connection {
    /// # Errors
    /// With the request, where nothing of it has been sent.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::One(single) => single.send(request).await,
            Self::Shared(sender) => sender.try_send_request(request).await,
        }
    }
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, wire: Wire, manner: Manner, dialer: Arc<Dialer>) -> Self {
        Self {
            address,
            wire,
            manner,
            dialer,
            in_progress: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
            shunned_until: Mutex::default(),
            kept: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn wire(&self) -> Wire {
        self.wire
    }

    /// By what endpoints are chosen: the smallest comes first.
    pub(super) fn load(&self, now: Instant) -> (bool, usize) {
        let shunned = *self.shunned_until.lock().unwrap_or_else(PoisonError::into_inner);
        (shunned.is_some_and(|until| now < until), self.in_progress.load(Ordering::Relaxed))
    }

    /// Has others be asked first for a while.
    pub(super) fn shun(&self) {
        let until = Instant::now() + SHUNNED;
        *self.shunned_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>, sent: Option<Arc<Sent>>) -> Lease {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        Lease { _progress: Progress(Arc::clone(self)), endpoint: Arc::clone(self), connection: None, sent }
    }

    /// Ends the connections that have no request; the others end with theirs.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
        self.kept().connections.clear();
        // Who holds the lock makes a connection that nobody will share, and the endpoint goes with its last request.
        if let Ok(mut shared) = self.shared.try_lock() {
            shared.take();
        }
    }

    /// A connection, kept or new. A request that cannot be sent twice gets a new one unless the kept one was used a
    /// moment ago: the endpoint may be closing it right now.
    pub(super) async fn connection(
        self: &Arc<Self>,
        is_replayable: bool,
    ) -> Result<Connection, ConnectError> {
        if self.wire.h2 {
            return self.shared_connection().await;
        }
        let oldest = if is_replayable { self.dialer.limits.kept } else { self.dialer.limits.kept / 4 };
        loop {
            let Some((since, mut single)) = self.kept().connections.pop_back() else { break };
            if since.elapsed() < oldest && single.ready().await {
                return Ok(Connection::One(single));
            }
        }
        self.fresh().await
    }

    /// A new connection.
    pub(super) async fn fresh(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        if self.wire.h2 {
            self.shared.lock().await.take();
            return self.shared_connection().await;
        }
        let (stream, slot) = self.dial().await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(self.dialer.limits.header_bytes.max(8192))
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Connection::One(Single::new(sender, connection.with_upgrades(), slot)))
    }

    async fn shared_connection(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Connection::Shared(sender.clone()));
        }
        let (stream, slot) = self.dial().await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        self.drive(slot, connection);
        if !self.is_retired.load(Ordering::Acquire) {
            *shared = Some(sender.clone());
        }
        Ok(Connection::Shared(sender))
    }

    async fn dial(&self) -> Result<(Steady<Box<dyn Stream>>, OwnedSemaphorePermit), ConnectError> {
        let slot = Arc::clone(&self.dialer.slots).try_acquire_owned().map_err(|_| ConnectError::Full)?;
        let dial = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            if !self.wire.tls {
                return Ok(Box::new(stream) as Box<dyn Stream>);
            }
            let tls = TlsConnector::from(Arc::clone(&self.dialer.tls[usize::from(self.wire.h2)]));
            let name = ServerName::IpAddress(self.address.ip().into());
            Ok(Box::new(tls.connect(name, stream).await?) as Box<dyn Stream>)
        };
        let limits = &self.dialer.limits;
        let patience = self.manner.connect.unwrap_or(limits.connect_patience);
        let stream: io::Result<_> = timeout(patience, dial).await.map_err(|_| ConnectError::Slow)?;
        Ok((Steady::new(stream?, self.manner.send.unwrap_or(limits.stall_patience)), slot))
    }

    /// Runs a connection to its end.
    fn drive(
        &self,
        slot: OwnedSemaphorePermit,
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
    ) {
        let shutdown = self.dialer.supervisor.shutdown().clone();
        let (drain, address) = (self.dialer.limits.drain, self.address);
        self.dialer.supervisor.spawn(TaskKind::Background, "ingress backend connection", async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%address, %error, "a connection to an endpoint ended");
                    }
                }
                () = stop(&shutdown, drain) => {}
            }
            drop(slot);
        });
    }

    fn keep(self: &Arc<Self>, connection: Single) {
        let limits = &self.dialer.limits;
        let mut kept = self.kept();
        // Looked at within the lock, which the one who retires the endpoint takes after that.
        if connection.is_closed() || self.is_retired.load(Ordering::Acquire) {
            return;
        }
        if kept.connections.len() >= limits.kept_of_endpoint {
            kept.connections.pop_front();
        }
        kept.connections.push_back((Instant::now(), connection));
        if std::mem::replace(&mut kept.is_swept, true) {
            return;
        }
        drop(kept);
        let (endpoint, shutdown) = (Arc::clone(self), self.dialer.supervisor.shutdown().clone());
        self.dialer.supervisor.spawn(TaskKind::Background, "ingress kept connections", async move {
            tokio::select! {
                () = endpoint.sweep() => {}
                () = shutdown.started() => endpoint.kept().connections.clear(),
            }
        });
    }

    /// Closes connections as their time comes, until there is none.
    async fn sweep(&self) {
        let kept = self.dialer.limits.kept;
        loop {
            let Some(first) = self.oldest(kept) else { return };
            tokio::time::sleep_until(first + kept).await;
        }
    }

    /// When the oldest connection began to be kept, with those closed whose time is over.
    fn oldest(&self, patience: Duration) -> Option<Instant> {
        let mut kept = self.kept();
        while kept.connections.front().is_some_and(|(since, _)| since.elapsed() >= patience) {
            kept.connections.pop_front();
        }
        let first = kept.connections.front().map(|(since, _)| *since);
        kept.is_swept = first.is_some();
        first
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn stop(shutdown: &Shutdown, drain: Duration) {
    shutdown.started().await;
    tokio::time::sleep(drain).await;
}

/// Plain or over TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
