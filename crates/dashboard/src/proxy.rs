//! [`Proxy`]: a request of the page on its way to the API server, and the response on its way back.
//!
//! Only the headers named here go either way: nothing of the page's chooses whom the API server takes it for, and the
//! API server sets no cookie.

use base::{Supervisor, TaskKind};
use bytes::Bytes;
use client::kube;
use http::header::{self, ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::guard::{KEY_PROTOCOL, protocols};
use crate::paths::{self, Target};
use crate::respond::{Body, failure, secure_content, whole};

/// What the API server takes at most, too.
const BODY_LIMIT_BYTES: usize = 3 << 20;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// What the API server is told of a request.
const REQUEST_HEADERS: [HeaderName; 2] = [ACCEPT, CONTENT_TYPE];
const HANDSHAKE_HEADERS: [HeaderName; 2] = [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION];
/// What the page is told of a response.
const RESPONSE_HEADERS: [HeaderName; 4] =
    [CONTENT_TYPE, CONTENT_LENGTH, header::WARNING, header::RETRY_AFTER];
const ACCEPTANCE_HEADERS: [HeaderName; 2] = [header::SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL];

/// Types that no browser makes a page of.
const PLAIN_TYPES: [&str; 5] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "text/plain",
    "application/cbor",
];

/// The way to the API server, under one identity.
pub struct Proxy {
    pub client: kube::Client,
    pub supervisor: Supervisor,
}

impl Proxy {
    pub async fn forward(&self, request: Request<Incoming>) -> Response<Body> {
        let path_and_query = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let Some(target) = paths::target(&path_and_query) else {
            return failure(StatusCode::NOT_FOUND, "NotFound", "the dashboard passes no such path on");
        };
        if wants_websocket(request.headers()) {
            return self.tunnel(request, &target).await;
        }
        let head = outgoing(&request, &target);
        let declared = request.body().size_hint().lower();
        if declared > BODY_LIMIT_BYTES as u64 {
            return too_large();
        }
        let body = match Limited::new(request.into_body(), BODY_LIMIT_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return too_large(),
            Err(error) => return failure(StatusCode::BAD_REQUEST, "BadRequest", &error.to_string()),
        };
        match self.client.send(head.map(|()| body.into())).await {
            Ok(response) => incoming(response),
            Err(error) => unreachable(&error),
        }
    }

    /// Both ends of a WebSocket, passed on byte by byte once the API server has agreed.
    async fn tunnel(&self, mut request: Request<Incoming>, target: &Target<'_>) -> Response<Body> {
        let mut head = outgoing(&request, target);
        copy(request.headers(), head.headers_mut(), &HANDSHAKE_HEADERS);
        let (ours, theirs) = offered(request.headers());
        if let Some(theirs) = theirs {
            head.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, theirs);
        }
        set_upgrade(head.headers_mut());
        let page = hyper::upgrade::on(&mut request);
        let mut response = match self.client.send(head.map(|()| Bytes::new().into())).await {
            Ok(response) => response,
            Err(error) => return unreachable(&error),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return incoming(response);
        }
        let server = hyper::upgrade::on(&mut response);
        self.pass_on(page, server);
        let mut agreed = Response::new(whole(Bytes::new()));
        *agreed.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        copy(response.headers(), agreed.headers_mut(), &ACCEPTANCE_HEADERS);
        // A browser that offered protocols insists on one of them.
        if let (false, Some(ours)) = (agreed.headers().contains_key(SEC_WEBSOCKET_PROTOCOL), ours) {
            agreed.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, ours);
        }
        set_upgrade(agreed.headers_mut());
        agreed
    }

    fn pass_on(&self, page: OnUpgrade, server: OnUpgrade) {
        let shutdown = self.supervisor.shutdown().clone();
        self.supervisor.spawn(TaskKind::Background, "dashboard tunnel", async move {
            let sides = async { Ok::<_, hyper::Error>((page.await?, server.await?)) };
            let passing = async {
                let (page, server) = sides.await.map_err(std::io::Error::other)?;
                tokio::io::copy_bidirectional(&mut TokioIo::new(page), &mut TokioIo::new(server)).await
            };
            tokio::select! {
                ended = passing => if let Err(error) = ended {
                    tracing::debug!(%error, "a stream of the dashboard ended");
                },
                () = shutdown.started() => {}
            }
        });
    }
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Of the protocols that the page offers the one that is the key, and those that are for the API server.
fn offered(headers: &HeaderMap) -> (Option<HeaderValue>, Option<HeaderValue>) {
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        protocols(headers).partition(|protocol| protocol.starts_with(KEY_PROTOCOL));
    let theirs = (!theirs.is_empty()).then(|| theirs.join(", "));
    let value = |text: &str| HeaderValue::from_str(text).ok();
    (ours.first().copied().and_then(value), theirs.as_deref().and_then(value))
}

fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The request as the API server sees it, without its body.
fn outgoing(request: &Request<Incoming>, target: &Target<'_>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    // The path was part of a valid address, of which only its beginning was cut off.
    *head.uri_mut() = target.path_and_query.parse().unwrap_or_default();
    copy(request.headers(), head.headers_mut(), &REQUEST_HEADERS);
    if target.as_table {
        head.headers_mut().insert(ACCEPT, HeaderValue::from_static(TABLE));
    }
    head
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

/// The response as the page sees it.
fn incoming(response: Response<kube::client::Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let mut passed = Response::new(body.map_err(Into::into).boxed_unsync());
    *passed.status_mut() = parts.status;
    let headers = passed.headers_mut();
    copy(&parts.headers, headers, &RESPONSE_HEADERS);
    // Of several types a browser takes another one than the first.
    let types = headers.get_all(CONTENT_TYPE).iter().count();
    if types > 1 || !is_plain(headers) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    secure_content(headers);
    passed
}

fn is_plain(headers: &HeaderMap) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = named.split(';').next().unwrap_or_default().trim();
    PLAIN_TYPES.iter().any(|plain| plain.eq_ignore_ascii_case(named))
}

fn too_large() -> Response<Body> {
    let message = "the request is larger than the API server would take";
    failure(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
}

fn unreachable(error: &kube::Error) -> Response<Body> {
    tracing::debug!(%error, "the API server was not reached");
    let message = format!("the API server cannot be reached: {error}");
    failure(StatusCode::BAD_GATEWAY, "ServiceUnavailable", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_not_told_to_the_api_server() {
        let mut headers = HeaderMap::new();
        let all = HeaderValue::from_static("v5.channel.k8s.io, key.knarr.0,v4.channel.k8s.io");
        headers.insert(SEC_WEBSOCKET_PROTOCOL, all);
        let (ours, theirs) = offered(&headers);
        assert_eq!(ours.expect("the key"), "key.knarr.0");
        assert_eq!(theirs.expect("the others"), "v5.channel.k8s.io, v4.channel.k8s.io");
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("key.knarr.0"));
        assert_eq!(offered(&headers).1, None);
    }
}
