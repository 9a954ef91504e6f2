//! Forwards one request to a backend and returns the backend's response.

use std::time::Duration;

use api::Error;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, SEC_WEBSOCKET_PROTOCOL, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tunnel;
use crate::body::{Body, RequestBody};
use crate::context::Context;
use crate::request::call::{Call, TOKEN_PROTOCOL};
use crate::respond::Outcome;

/// Everything but what RFC 3986 calls unreserved.
pub(crate) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Headers that belong to one connection, not to the request (RFC 9110 §7.6.1), and those that
/// carry the client's credentials for this server.
const NOT_FORWARDED: [HeaderName; 11] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    UPGRADE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    CONTENT_LENGTH,
    HOST,
    http::header::AUTHORIZATION,
    http::header::PROXY_AUTHORIZATION,
];

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What a backend is to the client, and so what is said when it cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The node's agent, which does the client's work.
    Agent,
    /// What the client wants to talk to itself, through this server.
    Proxied,
}

/// The other side.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub peer: Peer,
}

/// How the connection to a backend is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    /// TLS with the server's client certificate; the agent's certificate is checked.
    Agent,
    /// TLS with whatever certificate the backend shows, as upstream does for pods and services: objects name addresses,
    /// and no authority speaks for these.
    Unverified,
}

impl Backend {
    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    fn unreachable(&self, error: impl std::fmt::Display) -> Error {
        match self.peer {
            Peer::Agent => Error::new(api::Reason::InternalError, format!("error dialing backend: {error}")),
            Peer::Proxied => {
                Error::new(api::Reason::ServiceUnavailable, format!("error trying to reach service: {error}"))
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Error> {
        let dial = |why: &str| self.unreachable(format!("dial tcp {}:{}: {why}", self.host, self.port));
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let connected = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
        let socket = connected.map_err(|_| dial("i/o timeout"))?.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => dial("connect: connection refused"),
            std::io::ErrorKind::HostUnreachable => dial("connect: no route to host"),
            std::io::ErrorKind::NetworkUnreachable => dial("connect: network is unreachable"),
            _ => dial(&error.to_string()),
        })?;
        socket.set_nodelay(true).map_err(|e| self.unreachable(e))?;
        Ok(socket)
    }
}

/// A path's segment as it stands in a URL.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Whether the client wants to leave HTTP.
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    let asks = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let asks = asks.flat_map(|v| v.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    asks && headers.contains_key(UPGRADE)
}

/// Sends the call to `backend` under `path_and_query` and hands its answer on, or connects both
/// sides when the backend agrees to an upgrade.
///
/// # Errors
/// 500 or (proxied) 503 with upstream's words when the backend cannot be reached, 501 when no identity for it is set.
pub(crate) async fn send(
    context: &Context,
    mut call: Call,
    backend: &Backend,
    path_and_query: &str,
) -> Outcome {
    let upgrade = wants_upgrade(&call.headers);
    let body = call.take_body();
    let request = outgoing(&call, backend, path_and_query, body, upgrade)?;
    let response = dial(context, backend, request).await?;
    answer(context, call, upgrade, response)
}

/// Hands a backend's answer on, or connects both sides when the backend agrees to the upgrade that the client wants.
///
/// # Errors
/// 400 when the backend upgrades what is no request for it.
pub(crate) fn answer(
    context: &Context,
    mut call: Call,
    upgrade: bool,
    mut response: Response<Incoming>,
) -> Outcome {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let client = call.upgrade.take().filter(|_| upgrade);
        let client = client.ok_or_else(|| Error::bad_request("Upgrade request required"))?;
        let server = hyper::upgrade::on(&mut response);
        tunnel::start(context, client, server);
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        return Ok(answer);
    }
    let (mut parts, incoming) = response.into_parts();
    for name in of_connection(&parts.headers) {
        parts.headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, TRAILER] {
        parts.headers.remove(name);
    }
    Ok(Response::from_parts(parts, streamed(incoming)))
}

/// The headers that a message says are of its connection alone.
fn of_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// A backend's body as it comes.
pub(crate) fn streamed(incoming: Incoming) -> Body {
    Body::stream(futures::stream::unfold(incoming, |mut incoming| async move {
        loop {
            match incoming.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some((Ok(data), incoming));
                    }
                }
                Err(error) => return Some((Err(error.into()), incoming)),
            }
        }
    }))
}

fn outgoing(
    call: &Call,
    backend: &Backend,
    path_and_query: &str,
    body: RequestBody,
    upgrade: bool,
) -> Result<Request<RequestBody>, Error> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(path_and_query)
        .body(body)
        .map_err(|e| Error::bad_request(format!("the proxied path is not valid: {e}")))?;
    *request.headers_mut() = headers(call, upgrade);
    request.headers_mut().insert(HOST, host(call, backend)?);
    Ok(request)
}

/// The client's headers as they are forwarded, but for the host.
pub(crate) fn headers(call: &Call, upgrade: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(call.headers.len());
    let of_connection = of_connection(&call.headers);
    for (name, value) in &call.headers {
        if *name == SEC_WEBSOCKET_PROTOCOL {
            headers.extend(without_token(value).map(|value| (name.clone(), value)));
        } else if !NOT_FORWARDED.contains(name)
            && !of_connection.contains(name)
            && !name.as_str().starts_with("impersonate-")
        {
            headers.append(name, value.clone());
        }
    }
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Some(protocol) = call.headers.get(UPGRADE) {
            headers.insert(UPGRADE, protocol.clone());
        }
    } else if let Some(length) = call.headers.get(CONTENT_LENGTH)
        && call.method != Method::GET
    {
        headers.insert(CONTENT_LENGTH, length.clone());
    }
    // What stands behind cannot tell otherwise at which path its clients see it.
    if !upgrade && let Ok(uri) = HeaderValue::from_str(call.uri.path()) {
        headers.insert("x-forwarded-uri", uri);
    }
    if let Some(peer) = call.peer
        && let Ok(value) = HeaderValue::from_str(&peer.ip().to_string())
    {
        headers.append("x-forwarded-for", value);
    }
    headers
}

/// What the client calls this server.
pub(crate) fn asked_host(call: &Call) -> Option<HeaderValue> {
    let authority = call.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    call.headers.get(HOST).cloned().or(authority)
}

/// What the client calls the server that it wants to reach: that is this server for who is proxied, as upstream has it.
fn host(call: &Call, backend: &Backend) -> Result<HeaderValue, Error> {
    let by_client = (backend.peer == Peer::Proxied).then(|| asked_host(call)).flatten();
    by_client.map_or_else(
        || {
            HeaderValue::from_str(&backend.authority())
                .map_err(|e| Error::internal(format!("the backend's address is not valid: {e}")))
        },
        Ok,
    )
}

/// The protocols a WebSocket client offers, without the one that is its token for this server.
fn without_token(offered: &HeaderValue) -> Option<HeaderValue> {
    let offered = offered.to_str().ok()?;
    let kept: Vec<&str> = offered
        .split(',')
        .map(str::trim)
        .filter(|p| !p.is_empty() && !p.starts_with(TOKEN_PROTOCOL))
        .collect();
    HeaderValue::from_str(&kept.join(", ")).ok().filter(|_| !kept.is_empty())
}

/// Connects and sends.
pub(crate) async fn dial(
    context: &Context,
    backend: &Backend,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, Error> {
    let socket = backend.connect().await?;
    let tls = match backend.security {
        Security::Plain => return exchange(context, backend, socket, request).await,
        Security::Agent => {
            let identity = context.deps.kubelet.as_ref();
            let without = || Error::not_implemented("reaching nodes without a client certificate for them");
            identity.ok_or_else(without)?.tls()
        }
        Security::Unverified => serving::unverified_client().map_err(Error::internal)?,
    };
    let name = ServerName::try_from(backend.host.clone()).map_err(|e| backend.unreachable(e))?;
    let handshake = TlsConnector::from(tls).connect(name, socket);
    let stream = tokio::time::timeout(CONNECT_PATIENCE, handshake)
        .await
        .map_err(|_| backend.unreachable("the TLS handshake timed out"))?
        .map_err(|e| backend.unreachable(e))?;
    exchange(context, backend, stream, request).await
}

async fn exchange<S>(
    context: &Context,
    backend: &Backend,
    stream: S,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| backend.unreachable(e))?;
    let connection = connection.with_upgrades();
    context.deps.supervisor.spawn(base::TaskKind::Background, "backend-connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a backend ended");
        }
    });
    sender.send_request(request).await.map_err(|e| backend.unreachable(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_listen_is_named_in_upstreams_words() {
        let port = {
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            taken.local_addr().unwrap().port()
        };
        let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        for (peer, code, words) in [
            (Peer::Agent, 500, "error dialing backend"),
            (Peer::Proxied, 503, "error trying to reach service"),
        ] {
            let backend = Backend { host: "127.0.0.1".to_owned(), port, security: Security::Plain, peer };
            let error = backend.connect().await.unwrap_err();
            assert_eq!((error.code(), error.message), (code, format!("{words}: {refused}")));
        }
    }
}
