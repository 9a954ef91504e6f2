//! The server's connection to one shim: requests with their answers, and notices of what happened.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::{Supervisor, TaskKind};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use shim::protocol::{Event, Failure, Message, Op, Reply, Request, SOCKET_FILE};
use shim::wire::{self, Received};

/// A shim replies within this time or is treated as stuck; forking a container takes milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for requests that end something: whoever is to end has had its grace by then.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that a shim sends without a request.
#[derive(Debug)]
pub enum Notice {
    Event(Event),
    /// It has ended, or closed the connection.
    Gone,
}

/// Where the notices of all shims go, with the sandbox they are about.
pub type Notices = mpsc::UnboundedSender<(String, Notice)>;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    #[error(transparent)]
    Refused(#[from] Failure),
    #[error("the shim of the pod is gone")]
    Gone,
    #[error("the shim of the pod does not answer")]
    Stuck,
    #[error("cannot talk to the shim: {0}")]
    Io(#[from] io::Error),
}

type Answer = (Result<Reply, Failure>, Vec<OwnedFd>);

/// A connection; clones share it.
#[derive(Clone)]
pub struct ShimLink {
    inner: Arc<Inner>,
}

struct Inner {
    socket: AsyncFd<OwnedFd>,
    next_id: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    closed: bool,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    execs: HashMap<String, oneshot::Sender<i32>>,
}

impl ShimLink {
    /// Starts a shim in the sandbox's directory `dir` and connects to it. It outlives this process.
    pub fn spawn(
        command: &[String],
        dir: &Path,
        sandbox_id: &str,
        supervisor: &Supervisor,
        notices: &Notices,
    ) -> io::Result<Self> {
        let listener = wire::listen(dir, SOCKET_FILE)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("shim.log"))?;
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("no shim command is configured"))?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .arg(sandbox_id)
            .env_clear()
            .current_dir(dir)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("cannot start the shim {program}: {e}")))?;
        let stopping = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Background, "shim", async move {
            // Its end is noticed by its socket; this only reaps, as long as there is a server.
            tokio::select! {
                _ = child.wait() => {}
                () = stopping.started() => {}
            }
        });
        Self::connect(dir, sandbox_id, supervisor, notices)
    }

    /// Connects to the shim that runs in `dir`.
    pub fn connect(
        dir: &Path,
        sandbox_id: &str,
        supervisor: &Supervisor,
        notices: &Notices,
    ) -> io::Result<Self> {
        let socket = crate::readiness::watch(wire::connect(dir, SOCKET_FILE)?)?;
        let inner = Arc::new(Inner { socket, next_id: AtomicU64::new(1), waiting: Mutex::default() });
        let reader = Arc::clone(&inner);
        let (id, notices) = (sandbox_id.to_owned(), notices.clone());
        let stopping = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Background, "shim-link", async move {
            let ended = tokio::select! {
                ended = reader.read(&id, &notices) => ended,
                // The shim goes on; the next server finds it.
                () = stopping.started() => return reader.close(),
            };
            if let Err(error) = ended {
                tracing::warn!(sandbox = %id, %error, "the connection to a shim failed");
            }
            reader.close();
            // Nobody listens any more when the server ends.
            let _ = notices.send((id, Notice::Gone));
        });
        Ok(Self { inner })
    }

    /// Asks for `op`, with `files` for the shim; files may come back.
    ///
    /// Cancellation safe in that the shim does what was asked in any case.
    pub async fn request(
        &self,
        op: Op,
        files: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), ShimError> {
        self.exchange(op, files, ANSWER_TIMEOUT).await
    }

    /// Asks for `op`, which ends something or forgets it: a shim that does not reply soon is stuck.
    ///
    /// Cancellation safe as [`ShimLink::request`] is.
    pub async fn request_end(&self, op: Op) -> Result<(), ShimError> {
        self.exchange(op, &[], ENDING_TIMEOUT).await.map(drop)
    }

    async fn exchange(
        &self,
        op: Op,
        files: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<(Reply, Vec<OwnedFd>), ShimError> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.inner.lock();
            if waiting.closed {
                return Err(ShimError::Gone);
            }
            waiting.answers.insert(id, sender);
        }
        let body = serde_json::to_vec(&Request { id, op }).map_err(io::Error::from)?;
        let answered = async {
            // A shim that reads nothing may have its socket full.
            let send = |socket: &OwnedFd| wire::send(socket, &body, files);
            self.inner.socket.async_io(tokio::io::Interest::WRITABLE, send).await.map_err(
                |error| match error.kind() {
                    io::ErrorKind::BrokenPipe => ShimError::Gone,
                    _ => error.into(),
                },
            )?;
            receiver.await.map_err(|_| ShimError::Gone)
        };
        let answered = match tokio::time::timeout(patience, answered).await {
            Ok(answered) => answered,
            Err(_) => Err(ShimError::Stuck),
        };
        match answered {
            Ok((result, files)) => Ok((result?, files)),
            Err(error) => {
                self.inner.lock().answers.remove(&id);
                Err(error)
            }
        }
    }

    /// Whether the shim has ended or closed the connection.
    pub fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Forgets the exec `id`, which was not started after all.
    pub fn forget_exec(&self, id: &str) {
        self.inner.lock().execs.remove(id);
    }

    /// The exit code of the exec `id`; ask before starting it.
    pub fn exec_exit(&self, id: &str) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.inner.lock();
        if !waiting.closed {
            waiting.execs.insert(id.to_owned(), sender);
        }
        receiver
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|e| e.into_inner())
    }

    async fn read(&self, sandbox_id: &str, notices: &Notices) -> io::Result<()> {
        loop {
            let received = self
                .socket
                .async_io(tokio::io::Interest::READABLE, |socket| wire::receive(socket.as_fd()))
                .await?;
            let Received::Packet(body, files) = received else { return Ok(()) };
            match serde_json::from_slice(&body)? {
                Message::Reply { id, result } => {
                    if let Some(waiting) = self.lock().answers.remove(&id) {
                        // Whoever asked may have given up.
                        let _ = waiting.send((result, files));
                    }
                }
                Message::Event(Event::Exec { exec, code }) => {
                    if let Some(waiting) = self.lock().execs.remove(&exec) {
                        let _ = waiting.send(code);
                    }
                }
                Message::Event(event) => {
                    // Nobody listens any more when the server ends.
                    let _ = notices.send((sandbox_id.to_owned(), Notice::Event(event)));
                }
            }
        }
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.answers.clear();
        waiting.execs.clear();
    }
}
