//! Every protocol against a backend that runs nothing, over the loopback address.

mod fake;
mod spdy_client;

use std::collections::BTreeMap;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use self::fake::FakeBackend;
use self::spdy_client::SpdyClient;
use super::*;

type Failure = Box<dyn std::error::Error>;
type Socket = WebSocketStream<TcpStream>;

const ALL: Stdio = Stdio { stdin: true, stdout: true, stderr: true, tty: false };
const TTY: Stdio = Stdio { stdin: true, stdout: true, stderr: false, tty: true };
const UPLOAD_BYTES: usize = 32 << 20;

/// A running server; it ends with this.
struct Running {
    server: StreamingServer,
    backend: Arc<FakeBackend>,
    _task: JoinSet<()>,
}

async fn start() -> Result<Running, Failure> {
    let backend = Arc::new(FakeBackend::default());
    let server = StreamingServer::bind(StreamingConfig::default(), Arc::clone(&backend) as _).await?;
    let mut task = JoinSet::new();
    let running = server.clone();
    task.spawn(async move { running.run(Shutdown::new()).await });
    Ok(Running { server, backend, _task: task })
}

fn exec(running: &Running, command: &[&str], stdio: Stdio) -> Result<String, Failure> {
    let command: Vec<String> = command.iter().map(|c| (*c).to_owned()).collect();
    Ok(running.server.exec_url("c1", &command, stdio)?)
}

async fn connect(url: &str) -> Result<TcpStream, Failure> {
    let host = url.strip_prefix("http://").and_then(|u| u.split('/').next()).ok_or("no host")?;
    Ok(TcpStream::connect(host).await?)
}

async fn websocket_client(url: &str, protocol: &'static str) -> Result<Socket, Failure> {
    let mut request = url.replace("http://", "ws://").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static(protocol));
    let (socket, response) = tokio_tungstenite::client_async(request, connect(url).await?).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    Ok(socket)
}

/// Everything a server sends until it closes, by channel; empty messages count as seen.
async fn collect(socket: &mut Socket) -> Result<BTreeMap<u8, Vec<u8>>, Failure> {
    let mut channels: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    while let Some(message) = socket.next().await {
        match message? {
            Message::Binary(bytes) => channels.entry(bytes[0]).or_default().extend(&bytes[1..]),
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(channels)
}

fn on(channel: u8, bytes: &[u8]) -> Message {
    Message::binary([&[channel], bytes].concat())
}

fn is_success(status: &[u8]) -> bool {
    serde_json::from_slice::<Value>(status).is_ok_and(|s| s["status"] == "Success")
}

#[tokio::test]
async fn websocket_v5_closes_stdin_and_ends_well() -> Result<(), Failure> {
    let running = start().await?;
    let mut socket = websocket_client(&exec(&running, &["cat"], ALL)?, "v5.channel.k8s.io").await?;
    socket.send(on(0, b"hel")).await?;
    socket.send(on(0, b"lo")).await?;
    socket.send(on(9, b"no such channel")).await?;
    socket.send(Message::binary(vec![255, 0])).await?;
    let channels = collect(&mut socket).await?;
    assert_eq!(channels[&1], b"hello");
    assert!(is_success(&channels[&3]));
    Ok(())
}

/// What the process read whose client has gone.
async fn kept(running: &Running) -> Result<Vec<u8>, Failure> {
    let mut keeping = std::mem::take(&mut *running.backend.keeping.lock().map_err(|_| "poisoned")?);
    Ok(keeping.join_next().await.ok_or("no process was started")??)
}

#[tokio::test]
async fn what_a_client_sent_before_it_left_reaches_the_process() -> Result<(), Failure> {
    const INPUT: Stdio = Stdio { stdin: true, stdout: false, stderr: false, tty: false };
    let sent = vec![b'x'; 300_000];
    for protocol in ["v4.channel.k8s.io", "v5.channel.k8s.io"] {
        for closes in [true, false] {
            let running = start().await?;
            let mut socket = websocket_client(&exec(&running, &["keep"], INPUT)?, protocol).await?;
            // The session has begun: a process that was never asked for is none.
            assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
            socket.send(on(0, &sent)).await?;
            if closes {
                socket.close(None).await?;
            }
            drop(socket);
            while running.backend.keeping.lock().map_err(|_| "poisoned")?.is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(kept(&running).await?.len(), sent.len(), "{protocol}, closed: {closes}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_a_spdy_client_sent_before_it_left_reaches_the_process() -> Result<(), Failure> {
    const INPUT: Stdio = Stdio { stdin: true, stdout: false, stderr: false, tty: false };
    static SENT: [u8; 20_000] = [b'x'; 20_000];
    for ends in [true, false] {
        let running = start().await?;
        let url = exec(&running, &["keep"], INPUT)?;
        let mut client = SpdyClient::upgrade(connect(&url).await?, &url, "v4.channel.k8s.io").await?;
        let streams = client.open_all(&["error", "stdin"]).await?;
        client.data(streams["stdin"], &SENT, ends).await?;
        drop(client);
        while running.backend.keeping.lock().map_err(|_| "poisoned")?.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(kept(&running).await?.len(), SENT.len(), "ended: {ends}");
    }
    Ok(())
}

#[tokio::test]
async fn an_exit_code_arrives_after_the_output() -> Result<(), Failure> {
    let running = start().await?;
    let mut socket = websocket_client(&exec(&running, &["exit", "3"], ALL)?, "v4.channel.k8s.io").await?;
    let channels = collect(&mut socket).await?;
    assert_eq!(channels[&2], b"failing\n");
    let status: Value = serde_json::from_slice(&channels[&3])?;
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0], serde_json::json!({"reason": "ExitCode", "message": "3"}));
    assert_eq!(
        status["message"],
        "command terminated with non-zero exit code: error executing command [exit 3], exit code 3"
    );
    Ok(())
}

#[tokio::test]
async fn the_first_protocols_tell_failures_in_plain_text() -> Result<(), Failure> {
    let running = start().await?;
    for protocol in ["channel.k8s.io", "base64.channel.k8s.io"] {
        let mut socket = websocket_client(&exec(&running, &["exit", "3"], ALL)?, protocol).await?;
        let mut told = Vec::new();
        while let Some(message) = socket.next().await {
            match message? {
                Message::Binary(bytes) if bytes[0] == 3 => told.extend(&bytes[1..]),
                Message::Text(text) if text.starts_with('3') => {
                    told.extend(base64::Engine::decode(
                        &base64::engine::general_purpose::STANDARD,
                        &text[1..],
                    )?);
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        let told = String::from_utf8(told)?;
        assert_eq!(
            told, "error executing remote command: error executing command [exit 3], exit code 3",
            "{protocol}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_start_is_told_on_the_error_channel() -> Result<(), Failure> {
    let running = start().await?;
    let mut socket = websocket_client(&exec(&running, &["missing"], ALL)?, "v5.channel.k8s.io").await?;
    let status: Value = serde_json::from_slice(&collect(&mut socket).await?[&3])?;
    assert_eq!(
        status["message"],
        "Internal error occurred: error executing command in container: no such file"
    );
    let url = running.server.attach_url("gone", ALL)?;
    let mut socket = websocket_client(&url, "v5.channel.k8s.io").await?;
    let status: Value = serde_json::from_slice(&collect(&mut socket).await?[&3])?;
    assert_eq!(
        status["message"],
        "Internal error occurred: error attaching to container: container not found"
    );
    Ok(())
}

#[tokio::test]
async fn base64_and_terminal_sizes_work() -> Result<(), Failure> {
    let running = start().await?;
    let mut socket = websocket_client(&exec(&running, &["size"], TTY)?, "v4.base64.channel.k8s.io").await?;
    // {"Width":80,"Height":24}
    socket.send(Message::text("4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9")).await?;
    let mut texts = Vec::new();
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        texts.push(text.to_string());
    }
    // ODB4MjQ= is 80x24.
    assert_eq!(texts.iter().filter(|t| t.len() > 1).take(1).collect::<Vec<_>>(), ["1ODB4MjQ="]);
    assert!(!texts.iter().any(|t| t.starts_with('2')), "a terminal has no stderr");
    Ok(())
}

#[tokio::test]
async fn a_large_upload_arrives_whole_over_websocket() -> Result<(), Failure> {
    let running = start().await?;
    let mut socket = websocket_client(&exec(&running, &["count"], ALL)?, "v5.channel.k8s.io").await?;
    let chunk = on(0, &vec![7; 256 << 10]);
    for _ in 0..UPLOAD_BYTES / (256 << 10) {
        socket.feed(chunk.clone()).await?;
    }
    socket.send(Message::binary(vec![255, 0])).await?;
    let channels = collect(&mut socket).await?;
    assert_eq!(String::from_utf8_lossy(&channels[&1]), UPLOAD_BYTES.to_string());
    Ok(())
}

#[tokio::test]
async fn spdy_exec_carries_all_streams() -> Result<(), Failure> {
    let running = start().await?;
    let url = exec(&running, &["cat"], ALL)?;
    let mut client = SpdyClient::upgrade(connect(&url).await?, &url, "v4.channel.k8s.io").await?;
    let streams = client.open_all(&["error", "stdin", "stdout", "stderr"]).await?;
    client.data(streams["stdin"], b"over spdy", false).await?;
    client.data(streams["stdin"], b"", true).await?;
    let seen = client.collect().await?;
    assert_eq!(seen[&streams["stdout"]], (b"over spdy".to_vec(), true));
    assert_eq!(seen[&streams["stderr"]], (vec![], true));
    let (status, ended) = &seen[&streams["error"]];
    assert!(is_success(status) && *ended);
    Ok(())
}

#[tokio::test]
async fn spdy_exec_with_a_terminal_and_an_exit_code() -> Result<(), Failure> {
    let running = start().await?;
    let url = exec(&running, &["size"], TTY)?;
    let mut client = SpdyClient::upgrade(connect(&url).await?, &url, "v4.channel.k8s.io").await?;
    let streams = client.open_all(&["error", "stdin", "stdout", "resize"]).await?;
    client.data(streams["resize"], b"{\"Width\":100,\"Height\":50}\n", false).await?;
    assert_eq!(client.collect().await?[&streams["stdout"]].0, b"100x50");

    let url = exec(&running, &["exit", "42"], ALL)?;
    let mut client = SpdyClient::upgrade(connect(&url).await?, &url, "channel.k8s.io").await?;
    let streams = client.open_all(&["stdin", "stdout", "stderr", "error"]).await?;
    let seen = client.collect().await?;
    let text = String::from_utf8_lossy(&seen[&streams["error"]].0).into_owned();
    assert_eq!(text, "error executing remote command: error executing command [exit 42], exit code 42");
    Ok(())
}

#[tokio::test]
async fn a_large_upload_arrives_whole_over_spdy() -> Result<(), Failure> {
    let running = start().await?;
    let url = exec(&running, &["count"], ALL)?;
    let mut client = SpdyClient::upgrade(connect(&url).await?, &url, "v4.channel.k8s.io").await?;
    let streams = client.open_all(&["error", "stdin", "stdout", "stderr"]).await?;
    static CHUNK: [u8; 256 << 10] = [7; 256 << 10];
    for _ in 0..UPLOAD_BYTES / CHUNK.len() {
        client.data(streams["stdin"], &CHUNK, false).await?;
    }
    client.data(streams["stdin"], b"", true).await?;
    let seen = client.collect().await?;
    assert_eq!(String::from_utf8_lossy(&seen[&streams["stdout"]].0), UPLOAD_BYTES.to_string());
    Ok(())
}

#[tokio::test]
async fn attach_ends_well_when_the_container_does() -> Result<(), Failure> {
    let running = start().await?;
    let url = running.server.attach_url("c1", Stdio { stdin: false, ..ALL })?;
    let mut socket = websocket_client(&url, "v4.channel.k8s.io").await?;
    let channels = collect(&mut socket).await?;
    assert_eq!(channels[&1], b"attached");
    assert!(is_success(&channels[&3]), "its exit code is not attach's");
    Ok(())
}

async fn forward_many<T>(mut client: SpdyClient<T>) -> Result<(), Failure>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut pairs = Vec::new();
    for i in 0..20 {
        pairs.push(client.open_pair(&i.to_string(), if i == 5 { "1" } else { "7" }).await?);
    }
    for (i, (error, data)) in pairs.iter().enumerate() {
        client.data(*error, b"", true).await?;
        if i != 5 {
            client.data(*data, b"ping", false).await?;
            // The echo server answers the end of input with a goodbye: half-close must pass through.
            client.data(*data, b"", true).await?;
        }
    }
    let seen = client.collect_until_ended(pairs.iter().flat_map(|(e, d)| [*e, *d]).collect()).await?;
    for (i, (error, data)) in pairs.iter().enumerate() {
        if i == 5 {
            let text = String::from_utf8_lossy(&seen[error].0).into_owned();
            assert_eq!(text, "error forwarding port 1 to pod s1: connection refused");
        } else {
            assert_eq!((seen[error].0.as_slice(), seen[data].0.as_slice()), (&b""[..], &b"ping, bye"[..]));
        }
    }
    Ok(())
}

#[tokio::test]
async fn many_connections_are_forwarded_over_one_spdy_connection() -> Result<(), Failure> {
    let running = start().await?;
    let url = running.server.port_forward_url("s1", &[])?;
    forward_many(SpdyClient::upgrade(connect(&url).await?, &url, "portforward.k8s.io").await?).await
}

#[tokio::test]
async fn spdy_tunnels_through_websocket() -> Result<(), Failure> {
    let running = start().await?;
    let url = running.server.port_forward_url("s1", &[])?;
    let socket = websocket_client(&url, "SPDY/3.1+portforward.k8s.io").await?;
    forward_many(SpdyClient::over(Tunnel::new(socket))).await
}

#[tokio::test]
async fn channels_forward_ports() -> Result<(), Failure> {
    let running = start().await?;
    let url = running.server.port_forward_url("s1", &[7, 1])?;
    let mut socket = websocket_client(&url, "v4.channel.k8s.io").await?;
    socket.send(on(0, b"quit")).await?;
    let channels = collect(&mut socket).await?;
    assert_eq!(channels[&0], [&7u16.to_le_bytes()[..], b"quit, bye"].concat());
    assert_eq!(channels[&1], 7u16.to_le_bytes());
    assert_eq!(channels[&2], 1u16.to_le_bytes());
    assert!(channels[&3].ends_with(b"connection refused"));
    Ok(())
}

#[tokio::test]
async fn a_url_works_once_and_nothing_else_is_served() -> Result<(), Failure> {
    let running = start().await?;
    let url = exec(&running, &["cat"], ALL)?;
    let status = async |url: &str, headers: &str| -> Result<String, Failure> {
        let mut socket = connect(url).await?;
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        socket
            .write_all(
                format!("POST /{path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n").as_bytes(),
            )
            .await?;
        let mut response = String::new();
        socket.read_to_string(&mut response).await?;
        Ok(response.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    assert_eq!(status(&url, "").await?, "400", "without upgrade the URL is not used up");
    let spdy = "connection: upgrade\r\nupgrade: SPDY/3.1\r\n";
    assert_eq!(status(&url, &format!("{spdy}x-stream-protocol-version: v9\r\n")).await?, "403");
    drop(websocket_client(&url, "v5.channel.k8s.io").await?);
    assert_eq!(status(&url, spdy).await?, "404");
    let other_action = exec(&running, &["cat"], ALL)?.replace("/exec/", "/attach/");
    assert_eq!(status(&other_action, spdy).await?, "404");
    assert_eq!(status(&url[..url.len() - 32], spdy).await?, "404");
    Ok(())
}
