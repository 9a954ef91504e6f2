//! Commands in containers: standard streams over WebSocket channels (`v5.channel.k8s.io`), which the server passes on to
//! the container's runtime. Start with [`run`].

pub mod pods;
pub mod terminal;

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{Client, Request, Socket, escaped, name_part};
use crate::failure::{Failure, quoted};
use crate::output::err;
use terminal::Sizes;

/// The protocols of the streams, the best one first.
const PROTOCOLS: &[&str] = &["v5.channel.k8s.io"];
/// How much is read of standard input at a time.
const CHUNK_BYTES: usize = 32 << 10;
/// Chunks of input that wait to be sent.
const WAITING_CHUNKS: usize = 4;

/// How often the server is asked whether it is there, and how long it may say nothing, as in client-go.
const PING_PERIOD: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Closes the channel whose number follows.
const CLOSE: u8 = 255;

/// What is to be run or attached to.
pub struct Target<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
    /// Of exec; nothing is run where it is empty.
    pub command: &'a [String],
    pub tty: bool,
    /// Without standard error where the terminal carries both.
    pub stderr: bool,
}

/// Takes what comes out, by its channel.
pub type Output<'a> = dyn FnMut(u8, &[u8]) -> Result<(), Failure> + 'a;
/// What goes in.
pub type Input = mpsc::Receiver<Bytes>;

impl Target<'_> {
    fn request(&self, stdin: bool) -> Result<Request, Failure> {
        let what = if self.command.is_empty() { "attach" } else { "exec" };
        let (namespace, pod) = (escaped(self.namespace), name_part(self.pod)?);
        let switch = |on: bool| if on { "true" } else { "" };
        let mut request = Request::get(format!("/api/v1/namespaces/{namespace}/pods/{pod}/{what}"))
            .with("container", self.container);
        for word in self.command {
            // An empty word is one all the same.
            request.query.push(("command".to_owned(), word.clone()));
        }
        request.accept = "*/*";
        Ok(request
            .with("stdin", switch(stdin))
            .with("stdout", "true")
            .with("stderr", switch(self.stderr))
            .with("tty", switch(self.tty)))
    }
}

/// Standard input, read by a thread of its own: nothing else can wait for it and for the server.
pub fn standard_input() -> Input {
    let (chunks, input) = mpsc::channel(WAITING_CHUNKS);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if chunks.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return err(&format!("error: reading standard input: {error}\n")),
            }
        }
    });
    input
}

/// Runs the command, or attaches, until its end. `output` takes what comes on [`STDOUT`] and [`STDERR`].
///
/// # Errors
/// When it cannot be run, ends with another code than 0, or the connection breaks.
pub fn run(
    client: &Client,
    target: &Target<'_>,
    input: Option<Input>,
    sizes: Option<Sizes>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let (socket, _) = client.upgrade(&target.request(input.is_some())?, PROTOCOLS)?;
    match client.wait(converse(socket, input, sizes, output)) {
        Ok(()) => Ok(()),
        Err(Ending::Failed(failure)) => Err(failure),
        Err(Ending::Code(code)) => {
            Err(Failure::Code(code, format!("command terminated with exit code {code}")))
        }
    }
}

/// Runs a command without input whose exit code is the question; `None` where it has none.
///
/// # Errors
/// When it cannot be run.
pub fn run_quietly(
    client: &Client,
    target: &Target<'_>,
    output: &mut Output<'_>,
) -> Result<Option<u8>, Failure> {
    let (socket, _) = client.upgrade(&target.request(false)?, PROTOCOLS)?;
    Ok(match client.wait(converse(socket, None, None, output)) {
        Ok(()) => Some(0),
        Err(Ending::Code(code)) => Some(code),
        Err(Ending::Failed(_)) => None,
    })
}

/// Why a command did not end well.
enum Ending {
    Code(u8),
    Failed(Failure),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

async fn converse(
    socket: Socket,
    input: Option<Input>,
    mut sizes: Option<Sizes>,
    output: &mut Output<'_>,
) -> Result<(), Ending> {
    let (mut sink, mut stream) = socket.split();
    let sizes_followed = sizes.is_some();
    let sending = async {
        let mut input = input;
        let mut pings = tokio::time::interval(PING_PERIOD);
        loop {
            let message = tokio::select! {
                chunk = next(&mut input) => match chunk {
                    Some(chunk) => message(STDIN, &chunk),
                    None => {
                        input = None;
                        Message::binary(vec![CLOSE, STDIN])
                    }
                },
                _ = pings.tick() => Message::Ping(Bytes::new()),
                size = resized(&mut sizes) => message(RESIZE, size.to_string().as_bytes()),
            };
            // A connection that has broken is told of by the reading side.
            if sink.send(message).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let receiving = async {
        let mut status = Vec::new();
        loop {
            let next = tokio::time::timeout(LONGEST_SILENCE, stream.next()).await;
            let Ok(next) = next else { return Err(silent().into()) };
            match next {
                Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                    Some((&channel @ (STDOUT | STDERR), bytes)) => output(channel, bytes)?,
                    Some((&ERROR, bytes)) => status.extend_from_slice(bytes),
                    _ => {}
                },
                Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed)) => return ended(&status),
                Some(Ok(_)) => {}
                // The status says it all, however the connection ends.
                None | Some(Err(_)) if !status.is_empty() => return ended(&status),
                None | Some(Err(_)) => return Err(broken().into()),
            }
        }
    };
    let result = tokio::select! {
        result = receiving => result,
        () = sending => Ok(()),
        asked = terminal::asked_to_end(), if sizes_followed => asked.map_err(Ending::from).and(Err(Ending::Code(1))),
    };
    // The server closes the connection when it is answered; nothing hangs on it.
    let _closed = tokio::time::timeout(Duration::from_millis(200), sink.close()).await;
    result
}

async fn next(input: &mut Option<Input>) -> Option<Bytes> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

async fn resized(sizes: &mut Option<Sizes>) -> Value {
    match sizes {
        Some(sizes) => {
            let (width, height) = sizes.next().await;
            json!({"Width": width, "Height": height})
        }
        None => std::future::pending().await,
    }
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.extend_from_slice(&[channel]);
    message.extend_from_slice(bytes);
    Message::binary(message.freeze())
}

fn silent() -> Failure {
    Failure::message(
        "error reading from error stream: next reader: the server has not been heard of for 60 seconds",
    )
}

fn broken() -> Failure {
    Failure::message(
        "error reading from error stream: next reader: websocket: close 1006 (abnormal closure): unexpected EOF",
    )
}

/// What the server says of the end.
fn ended(text: &[u8]) -> Result<(), Ending> {
    if text.is_empty() {
        return Ok(());
    }
    let shown = || quoted(&String::from_utf8_lossy(text));
    let status: Value = serde_json::from_slice(text)
        .map_err(|e| Failure::message(format!("error stream protocol error: {e} in {}", shown())))?;
    match status["status"].as_str() {
        Some("Success") => Ok(()),
        Some("Failure") if status["reason"] == "NonZeroExitCode" => {
            let causes = status["details"]["causes"].as_array().into_iter().flatten();
            let code = causes
                .filter(|cause| cause["reason"] == "ExitCode")
                .find_map(|cause| cause["message"].as_str()?.parse::<u8>().ok());
            match code {
                Some(code) => Err(Ending::Code(code)),
                None => Err(Failure::message("error stream protocol error: no ExitCode cause given").into()),
            }
        }
        Some("Failure") => Err(Failure::message(status["message"].as_str().unwrap_or_default()).into()),
        _ => Err(Failure::message("error stream protocol error: unknown error").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_what_the_status_says() {
        let said = |text: &str| {
            ended(text.as_bytes()).map_err(|ending| match ending {
                Ending::Code(code) => (code, String::new()),
                Ending::Failed(failure) => (1, failure.text()),
            })
        };
        assert_eq!(said(""), Ok(()));
        assert_eq!(said(r#"{"status": "Success"}"#), Ok(()));
        let exit = r#"{"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}"#;
        assert_eq!(said(exit), Err((3, String::new())));
        let failed =
            r#"{"status": "Failure", "reason": "InternalError", "message": "Internal error occurred: x"}"#;
        assert_eq!(said(failed), Err((1, "error: Internal error occurred: x".to_owned())));
        assert!(said("x").is_err() && said("{}").is_err());
    }

    #[test]
    fn what_is_asked_stands_in_the_query() {
        let command = ["sh", "", "a b"].map(str::to_owned);
        let target =
            Target { namespace: "n", pod: "p", container: "c", command: &command, tty: false, stderr: true };
        let request = target.request(true).expect("a request");
        assert_eq!(request.path, "/api/v1/namespaces/n/pods/p/exec");
        let query: Vec<String> = request.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            query.join("&"),
            "container=c&command=sh&command=&command=a b&stdin=true&stdout=true&stderr=true"
        );
    }
}
