//! The container side of the streaming server.

use std::sync::Arc;

use async_trait::async_trait;
use base::TaskKind;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::exec::{self, Streams, receiving_pipe, write_end};
use super::terminal::Terminal;
use super::{Container, Engine, EngineError};
use crate::netns;
use shim::protocol::Op;
use streaming::{BackendError, Connection, Exit, Process, Stdio, StreamBackend, TerminalSize};

/// The engine as the streaming server sees it.
pub struct EngineStreams {
    engine: Arc<Engine>,
}

#[async_trait]
impl StreamBackend for EngineStreams {
    async fn exec(&self, container: &str, command: &[String], stdio: Stdio) -> Result<Process, BackendError> {
        let container = self.engine.container(container)?;
        let streams =
            Streams { stdin: stdio.stdin, stdout: stdio.stdout, stderr: stdio.stderr, tty: stdio.tty };
        let started = self.engine.exec(&container, command, streams).await?;
        let exit = started.exit.map(|code| {
            code.map(|code| Exit { code }).map_err(|_| BackendError::Failed("the pod has gone".to_owned()))
        });
        match started.stdio {
            exec::Stdio::Pipes { stdin, stdout, stderr } => Ok(Process {
                stdin: stdin.map(|p| Box::new(p) as _),
                stdout: stdout.map(|p| Box::new(p) as _),
                stderr: stderr.map(|p| Box::new(p) as _),
                resize: None,
                exit: exit.boxed(),
            }),
            exec::Stdio::Terminal(master) => self.on_terminal(master, None, stdio, exit.boxed()),
        }
    }

    async fn attach(&self, container: &str, stdio: Stdio) -> Result<Process, BackendError> {
        let container = self.engine.container(container)?;
        if !container.is_running() {
            return Err(BackendError::NotRunning(format!(
                "container is in {} state",
                container.life().state().as_str_name()
            )));
        }
        let link = container.sandbox.link().map_err(EngineError::from)?.clone();
        let (mut theirs, mut ours): (Vec<OwnedFd>, Vec<Option<pipe::Receiver>>) = (Vec::new(), Vec::new());
        let wanted = [stdio.stdout, stdio.stderr && !container.config.tty];
        for wanted in wanted {
            let mut end = None;
            if wanted {
                let (read, write) = receiving_pipe().map_err(EngineError::from)?;
                theirs.push(write);
                end = Some(read);
            }
            ours.push(end);
        }
        let op = Op::Attach {
            container: container.id.clone(),
            stdin: stdio.stdin,
            stdout: wanted[0],
            stderr: wanted[1],
        };
        let borrowed: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
        let (_, files) = link.request(op, &borrowed).await.map_err(EngineError::from)?;
        drop(borrowed);
        drop(theirs);
        let input = files.into_iter().next();
        let exit = end_of(Arc::clone(&container));
        let mut outputs = ours.into_iter();
        let (stdout, stderr) = (outputs.next().flatten(), outputs.next().flatten());
        if let (true, Some(master)) = (container.config.tty, &input) {
            let master = master.try_clone().map_err(EngineError::from)?;
            return self.on_terminal(master, stdout, stdio, exit);
        }
        let stdin = match input.filter(|_| stdio.stdin) {
            Some(pipe) => {
                let pipe = pipe::Sender::from_owned_fd(write_end(pipe).map_err(EngineError::from)?);
                let pipe = pipe.map_err(EngineError::from)?;
                Some(Box::new(ContainerInput { pipe, container, engine: Arc::clone(&self.engine) }) as _)
            }
            None => None,
        };
        Ok(Process {
            stdin,
            stdout: stdout.map(|p| Box::new(p) as _),
            stderr: stderr.map(|p| Box::new(p) as _),
            resize: None,
            exit,
        })
    }

    async fn dial(&self, sandbox: &str, port: u16) -> Result<Box<dyn Connection>, BackendError> {
        let sandbox = self.engine.sandbox(sandbox)?;
        if !sandbox.is_ready() {
            return Err(BackendError::NotRunning(format!(
                "sandbox container {:?} is not running",
                sandbox.id
            )));
        }
        let pinned = sandbox.netns();
        let netns = (!sandbox.on_host_network()).then_some(pinned.as_path());
        let socket = netns::tcp_socket(netns, false).await.map_err(EngineError::from)?;
        let failed = |error: std::io::Error| {
            BackendError::Failed(format!(
                "failed to connect to localhost:{port} inside namespace {:?}, IPv4: dial tcp4 127.0.0.1:{port}: connect: {}",
                sandbox.id,
                nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default()).desc().to_lowercase()
            ))
        };
        match socket.connect((std::net::Ipv4Addr::LOCALHOST, port).into()).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(v4) => {
                let socket = netns::tcp_socket(netns, true).await.map_err(EngineError::from)?;
                let stream = socket.connect((std::net::Ipv6Addr::LOCALHOST, port).into()).await;
                stream.map(|s| Box::new(s) as _).map_err(|_| failed(v4))
            }
        }
    }
}

impl EngineStreams {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Output comes from the terminal, or from `output` if another reader has the terminal.
    fn on_terminal(
        &self,
        master: OwnedFd,
        output: Option<pipe::Receiver>,
        stdio: Stdio,
        exit: BoxFuture<'static, Result<Exit, BackendError>>,
    ) -> Result<Process, BackendError> {
        let terminal = Terminal::new(master).map_err(EngineError::from)?;
        let (resize, mut sizes) = watch::channel(None::<TerminalSize>);
        let resized = terminal.clone();
        self.engine.deps.supervisor.spawn(TaskKind::Background, "terminal-size", async move {
            while sizes.changed().await.is_ok() {
                let size = *sizes.borrow_and_update();
                if let Some(size) = size
                    && let Err(error) = resized.resize(size)
                {
                    tracing::debug!(%error, "a terminal does not take its size");
                }
            }
        });
        let stdout: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>> = match output {
            Some(pipe) => Some(Box::new(pipe)),
            None if stdio.stdout => Some(Box::new(terminal.clone())),
            None => None,
        };
        Ok(Process {
            stdin: stdio.stdin.then(|| Box::new(terminal) as _),
            stdout,
            stderr: None,
            resize: Some(resize),
            exit,
        })
    }
}

fn end_of(container: Arc<Container>) -> BoxFuture<'static, Result<Exit, BackendError>> {
    async move { Ok(Exit { code: container.ended().await.code }) }.boxed()
}

/// Standard input of a container; the shim is informed when the client has disconnected.
struct ContainerInput {
    pipe: pipe::Sender,
    container: Arc<Container>,
    engine: Arc<Engine>,
}

impl Drop for ContainerInput {
    fn drop(&mut self) {
        let container = Arc::clone(&self.container);
        self.engine.deps.supervisor.spawn(TaskKind::Background, "stdin-left", async move {
            let op = Op::StdinLeft { container: container.id.clone() };
            if let Ok(link) = container.sandbox.link()
                && let Err(error) = link.request(op, &[]).await
            {
                tracing::debug!(%error, "the shim was not told that a client left");
            }
        });
    }
}

impl tokio::io::AsyncWrite for ContainerInput {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl From<EngineError> for BackendError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(text) => Self::NotFound(text),
            EngineError::State(text) => Self::NotRunning(text),
            other => Self::Failed(other.to_string()),
        }
    }
}
