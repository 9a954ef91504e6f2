//! Running one exec or attach session, over either protocol.
//!
//! Owns the order: all output is sent before the status, and the status before the connection is
//! closed. Never speaks a protocol: a [`Remote`] is plain readers and writers.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backend::{BackendError, Exit, Process, Stdio, StreamBackend, TerminalSize};
use super::resize::SizeParser;
use super::status::{Form, Outcome};

const COPY_BUFFER_BYTES: usize = 32 << 10;
/// How long output is awaited after the process has ended, counted from the last output: a child in the
/// background may hold the stream open for ever.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The client's ends of a session's streams.
pub struct Remote {
    pub stdin: Option<Reader>,
    pub stdout: Option<Writer>,
    pub stderr: Option<Writer>,
    /// Terminal sizes as JSON.
    pub resize: Option<Reader>,
    pub error: Writer,
    pub form: Form,
    /// Cancelled by the session once the process has been given all of the standard input that the client sent.
    pub delivered: CancellationToken,
}

/// What to run.
pub enum Command<'a> {
    Exec(&'a [String]),
    Attach,
}

/// Runs a session to its end and sends its status to the client.
///
/// Dropping the future (the client has disconnected) drops the process' streams. What the client sent before is with
/// the process once [`Remote::delivered`] is cancelled.
pub async fn run(
    backend: &dyn StreamBackend,
    container: &str,
    command: Command<'_>,
    stdio: Stdio,
    mut remote: Remote,
) {
    let started = match command {
        Command::Exec(command) => backend.exec(container, command, stdio).await,
        Command::Attach => backend.attach(container, stdio).await,
    };
    let result = match started {
        Ok(process) => serve(process, &mut remote).await,
        Err(e) => Err(e),
    };
    let outcome = match command {
        Command::Exec(command) => Outcome::of_exec(command, result),
        Command::Attach => Outcome::of_attach(result.map(drop)),
    };
    if let Err(error) = say_goodbye(&mut remote, &outcome).await {
        tracing::debug!(container, %error, "the client left before the end of its session");
    }
}

async fn say_goodbye(remote: &mut Remote, outcome: &Outcome<'_>) -> io::Result<()> {
    for output in [remote.stdout.as_mut(), remote.stderr.as_mut()].into_iter().flatten() {
        output.shutdown().await?;
    }
    let status = outcome.bytes(remote.form);
    if !status.is_empty() {
        remote.error.write_all(&status).await?;
    }
    remote.error.shutdown().await
}

async fn serve(process: Process, remote: &mut Remote) -> Result<Exit, BackendError> {
    let Process { stdin, stdout, stderr, resize, exit } = process;
    let exited = CancellationToken::new();
    let delivered = remote.delivered.clone();
    let from = remote.stdin.take();
    let fed = async {
        feed(from, stdin).await;
        delivered.cancel();
    };
    let input = async {
        tokio::join!(fed, follow_size(remote.resize.take(), resize));
        std::future::pending::<Infallible>().await
    };
    let output = async {
        tokio::join!(
            pump(stdout, remote.stdout.as_mut(), &exited),
            pump(stderr, remote.stderr.as_mut(), &exited)
        )
    };
    let ended = async {
        let exit = exit.await;
        exited.cancel();
        exit
    };
    tokio::select! {
        (exit, _) = async { tokio::join!(ended, output) } => exit,
        never = input => match never {},
    }
}

/// Standard input; its end closes the process' end.
async fn feed(from: Option<Reader>, to: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    // A process that does not read, or a client that disconnects, ends only the copying.
    if let Err(error) = copy(&mut from, &mut to).await {
        tracing::debug!(%error, "standard input ended early");
    }
    if let Err(error) = to.shutdown().await {
        tracing::debug!(%error, "standard input was closed already");
    }
}

async fn copy(from: &mut Reader, to: &mut Box<dyn AsyncWrite + Send + Unpin>) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
    }
}

/// One output stream, to its end or until nothing more comes from an ended process.
async fn pump(from: Option<Reader>, to: Option<&mut Writer>, exited: &CancellationToken) {
    let (Some(mut from), Some(to)) = (from, to) else { return };
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        let silent = async {
            exited.cancelled().await;
            tokio::time::sleep(OUTPUT_PATIENCE).await;
        };
        let read = tokio::select! {
            biased;
            read = from.read(&mut buffer) => read,
            () = silent => return,
        };
        match read {
            Ok(0) => return,
            Ok(n) => {
                if let Err(error) = to.write_all(&buffer[..n]).await {
                    tracing::debug!(%error, "the client takes no more output");
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "output ended early");
                return;
            }
        }
    }
}

async fn follow_size(from: Option<Reader>, to: Option<watch::Sender<Option<TerminalSize>>>) {
    let (Some(mut from), Some(to)) = (from, to) else { return };
    let mut parser = SizeParser::default();
    let mut buffer = [0; 512];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if let Some(size) = parser.feed(&buffer[..n]) {
            to.send_replace(Some(size));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::duplex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn output_held_open_by_a_child_does_not_hold_the_session() -> Result<(), Box<dyn std::error::Error>>
    {
        let (mut held, stdout) = duplex(64);
        held.write_all(b"early").await?;
        let process = Process {
            stdin: None,
            stdout: Some(Box::new(stdout)),
            stderr: None,
            resize: None,
            exit: std::future::ready(Ok(Exit { code: 0 })).boxed(),
        };
        let (to_client, mut client) = duplex(64);
        let mut remote = Remote {
            stdin: None,
            stdout: Some(Box::new(to_client)),
            stderr: None,
            resize: None,
            error: Box::new(tokio::io::sink()),
            form: Form::Json,
            delivered: CancellationToken::new(),
        };
        assert_eq!(serve(process, &mut remote).await?, Exit { code: 0 });
        drop(remote);
        let mut seen = String::new();
        client.read_to_string(&mut seen).await?;
        assert_eq!(seen, "early");
        drop(held);
        Ok(())
    }
}
