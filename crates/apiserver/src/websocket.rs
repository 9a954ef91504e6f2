//! Answers that are streams (watches, logs) as the messages of a WebSocket, for clients that cannot read an HTTP
//! answer while it comes (upstream: `apiserver/pkg/endpoints/handlers/watch.go`,
//! `apimachinery/pkg/util/httpstream/wsstream/stream.go`). What the client sends is not looked at.
//!
//! Start with [`answer`]. The handler makes the answer as for any client.

use base::TaskKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::body::Body;
use crate::context::Context;
use crate::proxy::forward::wants_upgrade;
use crate::request::call::{Call, TOKEN_PROTOCOL};
use crate::respond::Outcome;

/// The largest message taken from a client, which has nothing to say here.
const MESSAGE_LIMIT_BYTES: usize = 64 << 10;

/// What of the answer goes into one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A line, as text.
    Lines,
    /// What comes at once, as bytes or as base64; an empty message says that the connection is made.
    Chunks { base64: bool },
}

/// Whether the client wants the answer over a WebSocket.
pub(crate) fn wanted(headers: &HeaderMap) -> bool {
    let asks = |value: &HeaderValue| {
        value.to_str().is_ok_and(|v| v.split(',').any(|u| u.trim().eq_ignore_ascii_case("websocket")))
    };
    wants_upgrade(headers) && headers.get_all(UPGRADE).iter().any(asks)
}

/// The protocols that the client offers, its token left out.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let protocols = values.flat_map(|value| value.split(',')).map(str::trim);
    protocols.filter(|protocol| !protocol.is_empty() && !protocol.starts_with(TOKEN_PROTOCOL))
}

/// How a log is framed, and the protocol that is agreed on.
///
/// # Errors
/// 403 when none of the client's protocols is known.
pub(crate) fn log_framing(headers: &HeaderMap) -> Result<(Framing, Option<HeaderValue>), api::Error> {
    let known = [("binary.k8s.io", false), ("base64.binary.k8s.io", true)];
    let mut asked = offered(headers).peekable();
    if asked.peek().is_none() {
        return Ok((Framing::Chunks { base64: false }, None));
    }
    asked
        .find_map(|protocol| known.into_iter().find(|(name, _)| *name == protocol))
        .map(|(name, base64)| (Framing::Chunks { base64 }, Some(HeaderValue::from_static(name))))
        .ok_or_else(|| {
            let message = "unable to upgrade: unable to negotiate protocol: server supports [binary.k8s.io base64.binary.k8s.io]";
            api::Error::new(api::Reason::Forbidden, message)
        })
}

/// The protocol of a watch: whichever the client offers, when it offers one.
pub(crate) fn watch_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut asked = offered(headers);
    let only = asked.next().filter(|_| asked.next().is_none())?;
    HeaderValue::from_str(only).ok()
}

/// Answers with an upgrade, and sends the response's body once the connection is a WebSocket.
///
/// # Errors
/// 400 for a handshake that is none.
pub(crate) fn answer(
    context: &Context,
    call: &mut Call,
    response: Response<Body>,
    framing: Framing,
    protocol: Option<HeaderValue>,
) -> Outcome {
    let key = call.headers.get(SEC_WEBSOCKET_KEY);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    let accept = accept.and_then(|accept| HeaderValue::from_str(&accept).ok());
    let (Some(accept), Some(upgrade)) = (accept, call.upgrade.take()) else {
        return Err(api::Error::bad_request("unable to upgrade: malformed WebSocket handshake"));
    };
    start(context, upgrade, response.into_body(), framing);
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(answer)
}

fn start(context: &Context, upgrade: OnUpgrade, body: Body, framing: Framing) {
    let shutdown = context.deps.supervisor.shutdown().clone();
    context.deps.supervisor.spawn(TaskKind::Background, "websocket", async move {
        let io = match upgrade.await {
            Ok(io) => TokioIo::new(io),
            Err(error) => {
                tracing::debug!(%error, "an upgrade did not come about");
                return;
            }
        };
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT_BYTES));
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        tokio::select! {
            served = serve(socket, body, framing) => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a stream over a WebSocket ended early");
                }
            }
            () = shutdown.started() => {}
        }
    });
}

/// Sends the body to its end, or until the client leaves.
async fn serve<T>(socket: WebSocketStream<T>, mut body: Body, framing: Framing) -> Result<(), SocketError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    // Reading answers pings as well.
    let left = async {
        while let Some(Ok(message)) = stream.next().await
            && !message.is_close()
        {}
    };
    let sending = async {
        if framing != Framing::Lines {
            sink.send(message(framing, Bytes::new())).await?;
        }
        let mut line = BytesMut::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if framing != Framing::Lines {
                sink.send(message(framing, data)).await?;
                continue;
            }
            line.extend_from_slice(&data);
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                sink.send(message(framing, line.split_to(end + 1).freeze())).await?;
            }
        }
        sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await
    };
    tokio::select! {
        sent = sending => sent,
        () = left => Ok(()),
    }
}

fn message(framing: Framing, bytes: Bytes) -> Message {
    match framing {
        Framing::Lines => Message::text(String::from_utf8_lossy(&bytes).into_owned()),
        Framing::Chunks { base64: true } => Message::text(BASE64.encode(bytes)),
        Framing::Chunks { base64: false } => Message::binary(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn protocols_are_agreed_on() {
        let asks = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert!(wanted(&headers(&asks)) && !wanted(&headers(&asks[..1])));
        assert!(!wanted(&headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")])));
        let log = |protocols: &'static str| log_framing(&headers(&[("sec-websocket-protocol", protocols)]));
        let binary = Framing::Chunks { base64: false };
        assert_eq!(log_framing(&HeaderMap::new()).unwrap(), (binary, None));
        let token = "base64url.bearer.authorization.k8s.io.eA, base64.binary.k8s.io";
        let text = (Framing::Chunks { base64: true }, Some(HeaderValue::from_static("base64.binary.k8s.io")));
        assert_eq!(log(token).unwrap(), text);
        assert_eq!(log("other").unwrap_err().code(), 403);
        let watch =
            |protocols: &'static str| watch_protocol(&headers(&[("sec-websocket-protocol", protocols)]));
        assert_eq!(watch("x"), Some(HeaderValue::from_static("x")));
        assert_eq!(watch("x, y"), None);
    }

    #[tokio::test]
    async fn lines_and_chunks_become_messages() {
        let sent = async |framing: Framing| {
            let (server, client) = tokio::io::duplex(1 << 16);
            let pieces = ["{\"a\":", "1}", "\n{}\n"].map(|piece| Bytes::from_static(piece.as_bytes()));
            let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
            let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
            let received = client.take_while(|m| futures::future::ready(m.is_ok())).collect::<Vec<_>>();
            let (served, received) =
                tokio::join!(serve(server, Body::Pieces(pieces.into()), framing), received);
            served.unwrap();
            received.into_iter().map(|m| m.unwrap()).filter(|m| !m.is_close()).collect::<Vec<_>>()
        };
        assert_eq!(sent(Framing::Lines).await, [Message::text("{\"a\":1}\n"), Message::text("{}\n")]);
        let chunks = sent(Framing::Chunks { base64: false }).await;
        assert_eq!((chunks.len(), &chunks[0], &chunks[2]), (4, &Message::binary(""), &Message::binary("1}")));
        let text = sent(Framing::Chunks { base64: true }).await;
        assert_eq!((&text[0], &text[2]), (&Message::text(""), &Message::text("MX0=")));
    }
}
