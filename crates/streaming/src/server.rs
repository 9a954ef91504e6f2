//! The HTTP server that CRI's Exec, Attach and PortForward point to.
//!
//! Owns the listener on a loopback address, the URLs, and the session of a claimed token. Never
//! serves the same URL twice, and never a client on another machine.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Shutdown;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::backend::{Stdio, StreamBackend};
use super::channels::{Channels, Encoding, socket_config};
use super::command::{self, Command, Remote};
use super::negotiate::{Kind, Transport, negotiate};
use super::tokens::{Session, Tokens, TooManyPending};
use super::tunnel::Tunnel;
use super::{port_forward, spdy, spdy_command};

/// Ports one WebSocket may forward: each takes two channels of one byte.
const CHANNEL_PORT_LIMIT: usize = 64;
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a process has to read what a client sent before it disconnected.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(30);

/// How the server listens and what it allows.
#[derive(Debug, Clone)]
pub struct StreamingConfig {
    /// A loopback address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// How long a URL can be used after it was issued.
    pub token_lifetime: Duration,
    /// URLs that are issued and not used yet.
    pub pending_limit: usize,
    /// Sessions at a time.
    pub session_limit: usize,
    /// Streams of one SPDY connection; a forwarded connection takes two.
    pub stream_limit: usize,
}

impl Default for StreamingConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token_lifetime: Duration::from_secs(60),
            pending_limit: 1000,
            session_limit: 1000,
            stream_limit: 2000,
        }
    }
}

/// Issues URLs and serves them while [`run`](Self::run) runs. Clones share one server.
#[derive(Clone)]
pub struct StreamingServer {
    inner: Arc<Inner>,
}

struct Inner {
    config: StreamingConfig,
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    tokens: Tokens,
    backend: Arc<dyn StreamBackend>,
}

impl StreamingServer {
    /// Binds the address. Errors: the address cannot be bound.
    pub async fn bind(config: StreamingConfig, backend: Arc<dyn StreamBackend>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let inner = Inner {
            address: listener.local_addr()?,
            tokens: Tokens::new(config.token_lifetime, config.pending_limit),
            listener: Mutex::new(Some(listener)),
            backend,
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A URL that runs `command` in a container once.
    pub fn exec_url(
        &self,
        container: &str,
        command: &[String],
        stdio: Stdio,
    ) -> Result<String, TooManyPending> {
        let session = Session::Exec { container: container.to_owned(), command: command.to_vec(), stdio };
        self.url("exec", session)
    }

    /// A URL that attaches to a container once.
    pub fn attach_url(&self, container: &str, stdio: Stdio) -> Result<String, TooManyPending> {
        self.url("attach", Session::Attach { container: container.to_owned(), stdio })
    }

    /// A URL that forwards to a sandbox once; `ports` are those a WebSocket client asked for.
    pub fn port_forward_url(&self, sandbox: &str, ports: &[u16]) -> Result<String, TooManyPending> {
        self.url("portforward", Session::PortForward { sandbox: sandbox.to_owned(), ports: ports.to_vec() })
    }

    fn url(&self, action: &str, session: Session) -> Result<String, TooManyPending> {
        let token = self.inner.tokens.issue(session)?;
        Ok(format!("http://{}/{action}/{token}", self.inner.address))
    }

    /// Serves until `shutdown` starts; running sessions are then ended. To be called once: a second
    /// call returns at once.
    pub async fn run(&self, shutdown: Shutdown) {
        let taken = self.inner.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = taken else { return };
        let limits = serving::Limits {
            server: "streaming",
            connections: self.inner.config.session_limit,
            excess: serving::Excess::Closed,
        };
        let converse = |socket, _| Arc::clone(&self.inner).connection(socket);
        drop(serving::accept(listener, limits, &shutdown, converse).await);
    }
}

/// What was negotiated for a request; served once hyper has released the socket.
struct Accepted {
    session: Session,
    transport: Transport,
    upgrade: OnUpgrade,
}

impl Inner {
    async fn connection(self: Arc<Self>, socket: TcpStream) {
        let accepted = Mutex::new(None);
        let service = hyper::service::service_fn(|request| {
            let response = self.answer(request, &accepted);
            async move { Ok::<_, Infallible>(response) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a streaming request failed");
        }
        let accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Accepted { session, transport, upgrade }) = accepted {
            match upgrade.await {
                Ok(io) => self.session(session, transport, TokioIo::new(io)).await,
                Err(error) => tracing::debug!(%error, "a streaming connection was not upgraded"),
            }
        }
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        accepted: &Mutex<Option<Accepted>>,
    ) -> Response<Full<Bytes>> {
        let refuse = |code: StatusCode, text: String| {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = code;
            response
        };
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let Some((action, token)) = path.split_once('/') else {
            return refuse(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
        };
        let kind = if action == "portforward" { Kind::PortForward } else { Kind::Command };
        let agreement = match negotiate(request.headers(), kind) {
            Ok(agreement) => agreement,
            Err(refusal) => return refuse(refusal.code(), refusal.to_string()),
        };
        let session = match self.tokens.claim(token) {
            Some(session) if action == action_of(&session) => session,
            _ => return refuse(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let claimed = Accepted { session, transport: agreement.transport, upgrade };
        *accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(claimed);
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = agreement.headers;
        response
    }

    async fn session<T>(&self, session: Session, transport: Transport, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match session {
            Session::Exec { container, command, stdio } => {
                self.command(&container, Command::Exec(&command), stdio, transport, io).await;
            }
            Session::Attach { container, stdio } => {
                self.command(&container, Command::Attach, stdio, transport, io).await;
            }
            Session::PortForward { sandbox, ports } => {
                self.port_forward(&sandbox, &ports, transport, io).await
            }
        }
    }

    async fn command<T>(
        &self,
        container: &str,
        command: Command<'_>,
        stdio: Stdio,
        transport: Transport,
        io: T,
    ) where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let backend = &*self.backend;
        let delivered = CancellationToken::new();
        match transport {
            Transport::Channels(encoding) => {
                let (remote, channels) =
                    command_channels(websocket(io).await, encoding, stdio, delivered.clone()).await;
                let session = command::run(backend, container, command, stdio, remote);
                commanded(session, channels.drive(), &delivered).await;
            }
            Transport::Spdy(form) => {
                let (mut connection, driver) = spdy::accept(io, self.spdy_limits());
                let token = delivered.clone();
                let session = async move {
                    match spdy_command::collect(&mut connection, stdio, form, token).await {
                        Ok(remote) => command::run(backend, container, command, stdio, remote).await,
                        Err(error) => tracing::debug!(%error, container, "a session did not begin"),
                    }
                };
                commanded(session, log_end(driver), &delivered).await;
            }
            // Never negotiated for commands.
            Transport::Tunnel => {}
        }
    }

    async fn port_forward<T>(&self, sandbox: &str, ports: &[u16], transport: Transport, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let backend = Arc::clone(&self.backend);
        match transport {
            Transport::Channels(encoding) => {
                let ports = &ports[..ports.len().min(CHANNEL_PORT_LIMIT)];
                let channels = Channels::new(websocket(io).await, encoding, ports.len() * 2);
                port_forward::over_channels(&*backend, sandbox, ports, channels).await;
            }
            Transport::Spdy(_) => {
                let (connection, driver) = spdy::accept(io, self.spdy_limits());
                together(port_forward::over_spdy(backend, sandbox, connection), log_end(driver)).await;
            }
            Transport::Tunnel => {
                let (connection, driver) = spdy::accept(Tunnel::new(websocket(io).await), self.spdy_limits());
                together(port_forward::over_spdy(backend, sandbox, connection), log_end(driver)).await;
            }
        }
    }

    fn spdy_limits(&self) -> spdy::Limits {
        spdy::Limits { streams: self.config.stream_limit }
    }
}

fn action_of(session: &Session) -> &'static str {
    match session {
        Session::Exec { .. } => "exec",
        Session::Attach { .. } => "attach",
        Session::PortForward { .. } => "portforward",
    }
}

async fn websocket<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(socket_config())).await
}

/// Channels 0 to 4: stdin, stdout, stderr, error, terminal size.
async fn command_channels<T>(
    socket: WebSocketStream<T>,
    encoding: Encoding,
    stdio: Stdio,
    delivered: CancellationToken,
) -> (Remote, Channels<T>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut channels = Channels::new(socket, encoding, 5);
    let remote = Remote {
        stdin: stdio.stdin.then(|| channels.reader(0)),
        stdout: stdio.stdout.then(|| channels.writer(1)),
        stderr: (stdio.stderr && !stdio.tty).then(|| channels.writer(2)),
        resize: stdio.tty.then(|| channels.reader(4)),
        error: channels.writer(3),
        form: encoding.form,
        delivered,
    };
    // An empty message on the first writable channel tells the client that it is connected.
    let first = if stdio.stdout { 1 } else { 3 };
    channels.greet(first, b"").await;
    (remote, channels)
}

async fn log_end(driver: impl Future<Output = Result<(), spdy::FrameError>>) {
    if let Err(error) = driver.await {
        tracing::debug!(%error, "a SPDY connection ended early");
    }
}

/// Runs a session and its transport: when the client disconnects, the session is dropped; when the
/// session ends, its remaining output is delivered first.
async fn together(session: impl Future<Output = ()>, driver: impl Future<Output = ()>) {
    let mut driver = std::pin::pin!(driver);
    tokio::select! {
        () = &mut driver => return,
        () = session => {}
    }
    driver.await;
}

/// As [`together`], for a command: what a client sent before it disconnected still goes to the process.
async fn commanded(
    session: impl Future<Output = ()>,
    driver: impl Future<Output = ()>,
    delivered: &CancellationToken,
) {
    let (mut session, mut driver) = (std::pin::pin!(session), std::pin::pin!(driver));
    tokio::select! {
        () = &mut driver => {
            tokio::select! {
                () = session => {}
                () = delivered.cancelled() => {}
                () = tokio::time::sleep(DELIVERY_PATIENCE) => {
                    tracing::debug!("a process did not read what its client had sent");
                }
            }
            return;
        }
        () = &mut session => {}
    }
    driver.await;
}

#[cfg(test)]
mod tests;
