//! Exec and attach over SPDY: the client opens one stream per standard stream, named by a header.
//!
//! Owns waiting for all streams. Never runs a command.

use std::io;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use super::backend::Stdio;
use super::command::Remote;
use super::spdy::{Connection, Stream};
use super::status::Form;

/// How long the client has to open its streams (upstream's `StreamCreationTimeout`).
const OPENING_PATIENCE: Duration = Duration::from_secs(30);

/// Waits for the streams that belong to `stdio`. Errors: a stream is missing, or the connection ended.
pub async fn collect(
    connection: &mut Connection,
    stdio: Stdio,
    form: Form,
    delivered: CancellationToken,
) -> io::Result<Remote> {
    match tokio::time::timeout(OPENING_PATIENCE, collect_all(connection, stdio, form, delivered)).await {
        Ok(collected) => collected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not open its streams")),
    }
}

async fn collect_all(
    connection: &mut Connection,
    stdio: Stdio,
    form: Form,
    delivered: CancellationToken,
) -> io::Result<Remote> {
    let mut opened = Opened::default();
    while !opened.complete(stdio, form) {
        let Some(stream) = connection.next_stream().await else {
            return Err(io::ErrorKind::ConnectionReset.into());
        };
        stream.accept().await?;
        opened.take(stream);
    }
    let Some(error) = opened.error else { return Err(io::ErrorKind::NotConnected.into()) };
    Ok(Remote {
        stdin: opened.stdin.map(|s| Box::new(s) as Box<dyn AsyncRead + Send + Unpin>),
        stdout: opened.stdout.map(|s| Box::new(s) as _),
        stderr: opened.stderr.map(|s| Box::new(s) as _),
        resize: opened.resize.map(|s| Box::new(s) as _),
        error: Box::new(error),
        form,
        delivered,
    })
}

#[derive(Default)]
struct Opened {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Opened {
    /// Streams with other names are dropped, and so reset.
    fn take(&mut self, stream: Stream) {
        let slot = match stream.header("streamtype") {
            Some("error") => &mut self.error,
            Some("stdin") => &mut self.stdin,
            Some("stdout") => &mut self.stdout,
            Some("stderr") => &mut self.stderr,
            Some("resize") => &mut self.resize,
            _ => return,
        };
        *slot = Some(stream);
    }

    /// Version 3 of the protocol introduced terminal sizes: their stream is awaited from version 4 on.
    fn complete(&self, stdio: Stdio, form: Form) -> bool {
        let has = |wanted: bool, stream: &Option<Stream>| !wanted || stream.is_some();
        self.error.is_some()
            && has(stdio.stdin, &self.stdin)
            && has(stdio.stdout, &self.stdout)
            && has(stdio.stderr && !stdio.tty, &self.stderr)
            && has(stdio.tty && form == Form::Json, &self.resize)
    }
}
