//! WebSocket messages as channels: `channel.k8s.io`, `v4.channel.k8s.io`, `v5.channel.k8s.io` and the base64 forms.
//!
//! Owns the framing: a message's first byte is its channel, 255 (version 5) closes the channel that
//! follows. Channels become plain readers and writers; only the driver uses the socket. Never
//! knows the purpose of a channel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, SimplexStream, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::PollSender;

use super::command::{Reader, Writer};
use super::status::Form;

/// The largest message taken from a client.
pub const MESSAGE_LIMIT_BYTES: usize = 4 << 20;
/// The most bytes of a stream put into one message, as other servers do.
const CHUNK_BYTES: usize = 32 << 10;
const OUT_QUEUE_MESSAGES: usize = 16;
const IN_BUFFER_BYTES: usize = 64 << 10;
const CLOSE_SIGNAL: u8 = 255;
/// How long the client has to answer the close message.
const LINGER: Duration = Duration::from_secs(5);

/// How channels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Text messages: a digit for the channel, then base64.
    pub base64: bool,
    /// The client may close single channels.
    pub close_signal: bool,
    /// How the session's end is told.
    pub form: Form,
}

/// The limits of a WebSocket.
pub fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(IN_BUFFER_BYTES)
        .write_buffer_size(IN_BUFFER_BYTES)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(MESSAGE_LIMIT_BYTES))
        .max_frame_size(Some(MESSAGE_LIMIT_BYTES))
}

/// Channels over one WebSocket, to be taken before the driver runs.
pub struct Channels<T> {
    socket: WebSocketStream<T>,
    encoding: Encoding,
    readers: Vec<Option<WriteHalf<SimplexStream>>>,
    messages: mpsc::Sender<Message>,
    to_write: mpsc::Receiver<Message>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Channels<T> {
    /// `count` is the number of channels the client may write to.
    pub fn new(socket: WebSocketStream<T>, encoding: Encoding, count: usize) -> Self {
        let (messages, to_write) = mpsc::channel(OUT_QUEUE_MESSAGES);
        Self { socket, encoding, readers: (0..count).map(|_| None).collect(), messages, to_write }
    }

    /// What the client sends on `channel`; messages on channels without a reader are dropped.
    pub fn reader(&mut self, channel: u8) -> Reader {
        let (read, write) = tokio::io::simplex(IN_BUFFER_BYTES);
        if let Some(slot) = self.readers.get_mut(usize::from(channel)) {
            *slot = Some(write);
        }
        Box::new(read)
    }

    /// Sends to the client on `channel`.
    pub fn writer(&self, channel: u8) -> Writer {
        Box::new(ChannelWriter {
            channel,
            encoding: self.encoding,
            messages: PollSender::new(self.messages.clone()),
        })
    }

    /// Sends `bytes` on `channel` before anything else, even when they are empty.
    pub async fn greet(&mut self, channel: u8, bytes: &[u8]) {
        // The queue is open: this holds both ends.
        drop(self.messages.send(encode(self.encoding, channel, bytes)).await);
    }

    /// Moves messages until the client disconnects, or all writers are dropped and the close message is sent.
    pub async fn drive(self) {
        let Self { socket, encoding, readers, messages, to_write } = self;
        drop(messages);
        let (sink, mut stream) = socket.split();
        let reading = receive(&mut stream, encoding, readers);
        let written = tokio::select! {
            () = reading => return,
            written = send(sink, to_write) => written,
        };
        match written {
            Ok(()) => drop(
                tokio::time::timeout(LINGER, async { while let Some(Ok(_)) = stream.next().await {} }).await,
            ),
            Err(error) => tracing::debug!(%error, "a WebSocket ended early"),
        }
    }
}

async fn receive<T>(
    stream: &mut SplitStream<WebSocketStream<T>>,
    encoding: Encoding,
    mut readers: Vec<Option<WriteHalf<SimplexStream>>>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = stream.next().await {
        let message = match message {
            Ok(Message::Close(_)) => break,
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket ended early");
                break;
            }
        };
        let Some((channel, bytes)) = decode(encoding, message) else { continue };
        if encoding.close_signal && channel == CLOSE_SIGNAL {
            let closed = bytes.first().and_then(|c| readers.get_mut(usize::from(*c)));
            if let Some(Some(reader)) = closed.map(Option::take) {
                close(reader).await;
            }
            continue;
        }
        let Some(slot) = readers.get_mut(usize::from(channel)) else { continue };
        if let Some(reader) = slot
            && reader.write_all(&bytes).await.is_err()
        {
            *slot = None;
        }
    }
    // Without this the readers would wait for more, after what has arrived.
    for reader in readers.into_iter().flatten() {
        close(reader).await;
    }
}

async fn close(mut reader: WriteHalf<SimplexStream>) {
    // Sending fails only when the reader is gone.
    drop(reader.shutdown().await);
}

async fn send<T>(
    mut sink: SplitSink<WebSocketStream<T>, Message>,
    mut to_write: mpsc::Receiver<Message>,
) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = to_write.recv().await {
        sink.feed(message).await?;
        while let Ok(message) = to_write.try_recv() {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await
}

fn encode(encoding: Encoding, channel: u8, bytes: &[u8]) -> Message {
    if encoding.base64 {
        let mut text = String::with_capacity(1 + bytes.len().div_ceil(3) * 4);
        text.push(char::from(b'0' + channel));
        BASE64.encode_string(bytes, &mut text);
        return Message::text(text);
    }
    let mut message = Vec::with_capacity(1 + bytes.len());
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::binary(message)
}

fn decode(encoding: Encoding, message: Message) -> Option<(u8, Bytes)> {
    let bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => Bytes::from(text),
        _ => return None,
    };
    let (channel, payload) = (*bytes.first()?, bytes.slice(1..));
    if !encoding.base64 {
        return Some((channel, payload));
    }
    Some((channel.checked_sub(b'0')?, BASE64.decode(payload).ok()?.into()))
}

struct ChannelWriter {
    channel: u8,
    encoding: Encoding,
    messages: PollSender<Message>,
}

impl AsyncWrite for ChannelWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.messages.poll_reserve(cx)).map_err(|_| closed())?;
        let n = buf.len().min(CHUNK_BYTES);
        let message = encode(self.encoding, self.channel, &buf[..n]);
        self.messages.send_item(message).map_err(|_| closed())?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Servers do not close single channels: the socket's end closes all.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_carry_their_channel_in_both_forms() {
        for base64 in [false, true] {
            let encoding = Encoding { base64, close_signal: true, form: Form::Json };
            for bytes in [&b""[..], b"\0\xff binary"] {
                let message = encode(encoding, 3, bytes);
                assert_eq!(decode(encoding, message), Some((3, Bytes::copy_from_slice(bytes))));
            }
        }
        let base64 = Encoding { base64: true, close_signal: false, form: Form::Json };
        assert_eq!(decode(base64, Message::text("0***")), None);
        assert_eq!(decode(base64, Message::text("")), None);
    }

    proptest! {
        #[test]
        fn any_message_is_a_channels_or_none(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            channel in 0u8..5,
            base64: bool,
        ) {
            let encoding = Encoding { base64, close_signal: true, form: Form::Json };
            let _ = decode(encoding, Message::binary(bytes.clone()));
            let _ = decode(encoding, Message::text(String::from_utf8_lossy(&bytes).into_owned()));
            let message = encode(encoding, channel, &bytes);
            prop_assert_eq!(decode(encoding, message), Some((channel, Bytes::from(bytes))));
        }
    }
}
