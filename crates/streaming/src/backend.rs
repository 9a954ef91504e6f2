//! What the streaming server needs from the container side.
//!
//! Owns the traits and the types in their signatures. Never uses a socket.

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Which streams a caller wants; with `tty`, stderr is merged into stdout and `stderr` is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stdio {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// A terminal's size in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

/// How a process ended: its exit code, 128 + signal number where a signal killed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
}

/// A process whose streams are connected; dropping it disconnects but need not kill.
///
/// A stream is `None` where it was not asked for. Shutting `stdin` down (or dropping it) closes the
/// process' standard input. `stdout` and `stderr` end when the process has closed them.
pub struct Process {
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// The caller's terminal size, newest only; `None` without a terminal.
    pub resize: Option<watch::Sender<Option<TerminalSize>>>,
    /// Resolves once the process has ended, whether or not its streams were read to the end.
    pub exit: BoxFuture<'static, Result<Exit, BackendError>>,
}

/// Both directions of a connection; shutting the write half down must reach the peer as end of stream.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Why the container side failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NotRunning(String),
    #[error("{0}")]
    Failed(String),
}

/// Starts processes in containers and opens connections into sandboxes.
#[async_trait]
pub trait StreamBackend: Send + Sync + 'static {
    /// Starts `command` in a running container. Dropping the future leaves nothing behind.
    async fn exec(&self, container: &str, command: &[String], stdio: Stdio) -> Result<Process, BackendError>;

    /// Connects to the streams of a container's own process.
    async fn attach(&self, container: &str, stdio: Stdio) -> Result<Process, BackendError>;

    /// Connects to `port` on the loopback address inside a sandbox's network namespace.
    async fn dial(&self, sandbox: &str, port: u16) -> Result<Box<dyn Connection>, BackendError>;
}
