//! Forwarding connections to ports of a sandbox.
//!
//! Owns pairing SPDY streams (data and error of one connection share a request id) and channels (two
//! per port). Half-close passes through in both directions. Never opens a socket: the backend dials.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backend::StreamBackend;
use super::channels::Channels;
use super::command::{Reader, Writer};
use super::spdy::{Connection, Stream};

const COPY_BUFFER_BYTES: usize = 32 << 10;
/// How long the second stream of a pair may take (upstream's `StreamCreationTimeout`).
const PAIRING_PATIENCE: Duration = Duration::from_secs(30);

/// Serves a SPDY connection until the client hangs up.
pub async fn over_spdy(backend: Arc<dyn StreamBackend>, sandbox: &str, mut connection: Connection) {
    let mut half_open: HashMap<String, Stream> = HashMap::new();
    // All unpaired streams wait equally long: the first one expires first.
    let mut waiting: VecDeque<(Instant, String)> = VecDeque::new();
    let mut forwards = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = connection.next_stream() => match stream {
                Some(stream) => stream,
                None => break,
            },
            () = expiry(&waiting), if !waiting.is_empty() => {
                if let Some((_, request)) = waiting.pop_front() {
                    half_open.remove(&request);
                }
                continue;
            }
            Some(_) = forwards.join_next() => continue,
        };
        let request = request_id(&stream);
        match half_open.remove(&request) {
            None => {
                if accept(&stream).await {
                    waiting.push_back((Instant::now() + PAIRING_PATIENCE, request.clone()));
                    half_open.insert(request, stream);
                }
            }
            Some(other) => {
                waiting.retain(|(_, waiting)| *waiting != request);
                let pair = match (other.header("streamtype"), stream.header("streamtype")) {
                    (Some("error"), Some("data")) => (stream, other),
                    (Some("data"), Some("error")) => (other, stream),
                    // Both streams are of one kind: dropping resets them.
                    _ => continue,
                };
                let backend = Arc::clone(&backend);
                let sandbox = sandbox.to_owned();
                forwards.spawn(async move { forward_pair(&*backend, &sandbox, pair).await });
            }
        }
    }
}

async fn expiry(waiting: &VecDeque<(Instant, String)>) {
    if let Some((at, _)) = waiting.front() {
        tokio::time::sleep_until(*at).await;
    }
}

async fn accept(stream: &Stream) -> bool {
    matches!(stream.header("streamtype"), Some("error" | "data")) && stream.accept().await.is_ok()
}

/// The streams of one connection carry its id; the oldest clients open the data stream right after the error
/// stream instead.
fn request_id(stream: &Stream) -> String {
    match (stream.header("requestid"), stream.header("streamtype")) {
        (Some(id), _) => id.to_owned(),
        (None, Some("data")) => format!("stream {}", stream.id().saturating_sub(2)),
        (None, _) => format!("stream {}", stream.id()),
    }
}

async fn forward_pair(backend: &dyn StreamBackend, sandbox: &str, (mut data, mut error): (Stream, Stream)) {
    // Only the stream that was opened second has no reply yet: the stream with the higher number. A second reply
    // to the first stream would do no harm.
    let later = if data.id() > error.id() { &data } else { &error };
    if later.accept().await.is_err() {
        return;
    }
    let port = data.header("port").and_then(|p| p.parse().ok());
    let forwarded = match port {
        Some(port @ 1..) => forward(backend, sandbox, port, &mut data).await,
        _ => Err(format!("invalid port {:?}", data.header("port").unwrap_or(""))),
    };
    if let Err(reason) = forwarded {
        tell(&mut error, &reason).await;
    }
    for stream in [&mut data, &mut error] {
        // The client may have disconnected already.
        drop(stream.shutdown().await);
    }
}

async fn tell(error: &mut (impl AsyncWrite + Unpin), reason: &str) {
    tracing::debug!(reason, "a forwarded connection failed");
    if let Err(e) = error.write_all(reason.as_bytes()).await {
        tracing::debug!(error = %e, "the client was not there to be told");
    }
}

async fn forward(
    backend: &dyn StreamBackend,
    sandbox: &str,
    port: u16,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("error forwarding port {port} to pod {sandbox}: {e}");
    let mut server = backend.dial(sandbox, port).await.map_err(|e| failed(&e))?;
    let copied =
        tokio::io::copy_bidirectional_with_sizes(client, &mut server, COPY_BUFFER_BYTES, COPY_BUFFER_BYTES);
    match copied.await {
        // Many connections end by the client closing its stream or the server resetting its connection.
        Err(e) if !matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Err(failed(&e))
        }
        _ => Ok(()),
    }
}

/// Serves one connection to each of `ports` over WebSocket channels, until the client disconnects.
pub async fn over_channels<T>(
    backend: &dyn StreamBackend,
    sandbox: &str,
    ports: &[u16],
    mut channels: Channels<T>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut forwards = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        // The server has checked that the numbers fit.
        let data = (i * 2) as u8;
        let (read, write, mut error) =
            (channels.reader(data), channels.writer(data), channels.writer(data + 1));
        let port = *port;
        forwards.push(async move {
            let mut client = tokio::io::join(read, write);
            if let Err(reason) = announce(&mut client, &mut error, port).await {
                tracing::debug!(error = %reason, "the client left before its port was announced");
                return;
            }
            if let Err(reason) = forward_to_end(backend, sandbox, port, client).await {
                tell(&mut error, &reason).await;
            }
        });
    }
    let mut driver = std::pin::pin!(channels.drive());
    tokio::select! {
        () = &mut driver => {}
        _ = futures::future::join_all(forwards) => driver.await,
    }
}

/// Channels have no half-close: the connection ends when the server's side ends.
async fn forward_to_end(
    backend: &dyn StreamBackend,
    sandbox: &str,
    port: u16,
    client: tokio::io::Join<Reader, Writer>,
) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("error forwarding port {port} to pod {sandbox}: {e}");
    let (mut from_server, mut to_server) =
        tokio::io::split(backend.dial(sandbox, port).await.map_err(|e| failed(&e))?);
    let (mut from_client, mut to_client) = client.into_inner();
    let upload = async {
        // The other side reports the failure.
        drop(tokio::io::copy(&mut from_client, &mut to_server).await);
        drop(to_server.shutdown().await);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        copied = tokio::io::copy(&mut from_server, &mut to_client) => copied.map(drop).map_err(|e| failed(&e)),
        never = upload => match never {},
    }
}

/// Both channels of a port begin with its number, two bytes, in little-endian order.
async fn announce(data: &mut (impl AsyncWrite + Unpin), error: &mut Writer, port: u16) -> io::Result<()> {
    data.write_all(&port.to_le_bytes()).await?;
    error.write_all(&port.to_le_bytes()).await
}
