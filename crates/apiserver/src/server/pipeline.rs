//! The pipeline of a request: request info → authenticate → impersonate → limits → authorize → answer.
//!
//! Start with [`serve`]: both transports (HTTPS and in-process) enter there. Every request gets a
//! tracing span, its metrics are counted and its audit event is written here, and a panic in a later step becomes a
//! 500 here.

mod authorize;
mod impersonate;
mod unread;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use api::Error;
use futures::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::upgrade::OnUpgrade;
use tracing::Instrument;

use authorize::authorize;

use super::router;
use crate::audit::{self, Trail};
use crate::body::{Body, RequestBody};
use crate::context::{Context, Limits};
use crate::fairness::{self, Seat};
use crate::identity::authn::{Credentials, request_header};
use crate::metrics::{Authentication, Ending, Timed};
use crate::proxy::aggregated;
use crate::request::User;
use crate::request::call::{Call, Certificate, Peer, TOKEN_PROTOCOL};
use crate::request::path::RequestInfo;
use crate::request::query::Query;
use crate::respond::negotiate::Answer;
use crate::respond::pretty;
use crate::respond::{self, Outcome};
use crate::websocket;

/// Answers one request. Never fails: failures are answers too.
pub(crate) async fn serve(
    context: Arc<Context>,
    peer: Arc<Peer>,
    request: Request<RequestBody>,
) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let info = match RequestInfo::parse(&parts.method, parts.uri.path(), &query) {
        Ok(info) => info,
        Err(error) => return respond::error(&error, Answer::of_failure(&parts.headers)),
    };
    let span = tracing::debug_span!(
        "request",
        verb = info.verb,
        path = info.path,
        user = tracing::field::Empty,
        code = tracing::field::Empty
    );
    let timed = Timed::of(&context.deps.resources.table(), &info, &query, &parts.headers);
    let running = info.long_running().then(|| context.metrics.begin(&timed));
    // OpenAPI documents are read by programs and large.
    let pretty = pretty::wanted(&query, &parts.headers) && !info.path.starts_with("/openapi/");
    let failure = Answer::of_failure(&parts.headers);
    let (body, unread) = unread::watch(&parts.headers, body);
    // A component of this process without an audit asks nobody for the id.
    let id = (peer.fixed.is_none() || context.audit.is_some()).then(|| audit::id(&parts.headers));
    let mut trail = Trail { id, ..Trail::default() };
    let handled = run(Arc::clone(&context), peer, parts, body, query, info, &mut trail);
    let outcome =
        AssertUnwindSafe(handled.instrument(span.clone())).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(parent: &span, "a handler panicked");
            trail.panicked = true;
            Err(Error::internal("the request could not be handled because of a fault in the server"))
        });
    let mut response = outcome.unwrap_or_else(|error| {
        let response = respond::error(&error, failure);
        trail.error = Some(error);
        response
    });
    respond::add_warnings(&mut response, &trail.notes.warnings());
    if pretty {
        response = respond::prettify(response);
    }
    if let Some(class) = &trail.class {
        class.mark(response.headers_mut());
    }
    let bytes = http_body::Body::size_hint(response.body()).exact();
    if let Some(running) = running {
        response.body_mut().hold(running);
    }
    if let Some(unread) = unread {
        unread.discard().await;
    }
    if let Some(recording) = trail.recording.take() {
        recording.answered(&trail, &mut response, context.deps.clock.now());
    }
    if let Some(id) = trail.id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert(audit::ID_HEADER, id);
    }
    span.record("code", response.status().as_u16());
    let (status, took) = (response.status(), started.elapsed());
    let ending = Ending { status, took, bytes, in_self_defence: trail.in_self_defence };
    context.metrics.observe(timed, &ending);
    response
}

/// Lets the request through and has it answered. The time limit holds for all of it, waits for webhooks included;
/// for a watch or stream it holds until the answer begins to be made.
async fn run(
    context: Arc<Context>,
    peer: Arc<Peer>,
    parts: http::request::Parts,
    body: RequestBody,
    query: Query,
    info: RequestInfo,
    trail: &mut Trail,
) -> Outcome {
    let long_running = info.long_running();
    let limit =
        if long_running { context.limits.request_timeout } else { context.limits.of_request(&query)? };
    let entering = enter(&context, &peer, parts, body, query, info, trail);
    if long_running {
        let (call, seat) =
            Limits::in_time(limit, entering).await.inspect_err(|_| trail.in_self_defence = true)??;
        // The seat of a watch is held until its answer begins, unless that is for another server to begin.
        let _seat = seat.filter(|_| aggregated::server(&context, &call.info).is_none());
        return router::route(context, call).await;
    }
    let answered = async {
        let (call, _seat) = entering.await?;
        router::route(Arc::clone(&context), call).await
    };
    Limits::in_time(limit, answered).await.inspect_err(|_| trail.in_self_defence = true)?
}

/// Authenticate → impersonate → limits → authorize. Streams take no seat.
async fn enter(
    context: &Context,
    peer: &Peer,
    mut parts: http::request::Parts,
    body: RequestBody,
    query: Query,
    info: RequestInfo,
    trail: &mut Trail,
) -> Result<(Call, Option<Seat>), Error> {
    let asked_at = Instant::now();
    let authenticated = authenticate(context, peer, &parts.headers, &info.path).await;
    let ending = match &authenticated {
        Ok(_) => Authentication::Success,
        Err(error) if error.code() == 401 => Authentication::Failure,
        Err(_) => Authentication::Error,
    };
    let known = authenticated.as_ref().ok().map(|user| user.name.as_str());
    context.metrics.access.authenticated(ending, known, asked_at.elapsed());
    record(context, peer, &mut parts, &info, authenticated.as_deref().ok(), trail);
    let user = authenticated?;
    tracing::Span::current().record("user", user.name.as_str());
    let mut call = Call {
        upgrade: parts.extensions.remove::<OnUpgrade>(),
        info,
        method: parts.method,
        uri: parts.uri,
        query,
        headers: parts.headers,
        user,
        body: Mutex::new(body),
        peer: peer.address,
        notes: trail.notes.clone(),
    };
    if let Some(done) = impersonate::impersonated(context, &call).await? {
        call.user = Arc::new(done.user);
        trail.impersonated = Some(Arc::clone(&call.user));
        trail.constraint = done.constraint;
    }
    let seat = take_seat(context, &call, trail).await?;
    let noted = trail.recording.is_some().then_some(&mut trail.decision);
    authorize(context, &call, noted).await?;
    Ok((call, seat))
}

/// Waits for the request's turn. Streams are exempt, watches are not.
async fn take_seat(context: &Context, call: &Call, trail: &mut Trail) -> Result<Option<Seat>, Error> {
    let Call { info, query, user, .. } = call;
    if info.long_running() && info.verb != "watch" {
        return Ok(None);
    }
    let class = context.fairness.class(user, info);
    trail.class = Some(class.clone());
    let deps = &context.deps;
    let request = fairness::Request { user, info, query, clock: &*deps.clock };
    let seat = context.fairness.enter(&class, &request, &deps.cache, &deps.resources.table()).await;
    Ok(Some(seat.inspect_err(|_| trail.in_self_defence = true)?))
}

/// Begins to write the request down, where an audit policy wants it.
fn record(
    context: &Context,
    peer: &Peer,
    parts: &mut http::request::Parts,
    info: &RequestInfo,
    user: Option<&User>,
    trail: &mut Trail,
) {
    let (Some(audit), Some(id)) = (&context.audit, &trail.id) else { return };
    let at = context.deps.clock.now();
    let head = audit::Head { id, info, uri: &parts.uri, headers: &parts.headers, peer, at };
    trail.recording = audit.begin(user, &head, &trail.notes);
    if trail.recording.as_ref().is_some_and(audit::Recording::wants_answer) {
        // The answer's object has to be read.
        parts.headers.remove(http::header::ACCEPT_ENCODING);
    }
}

async fn authenticate(
    context: &Context,
    peer: &Peer,
    headers: &HeaderMap,
    path: &str,
) -> Result<Arc<User>, Error> {
    if let Some(user) = &peer.fixed {
        return Ok(Arc::clone(user));
    }
    if let Some(user) = peer.by_certificate.get() {
        return Ok(Arc::clone(user));
    }
    if let Certificate::FrontProxy = &peer.certificate
        && let Some(user) = request_header::user(headers)
    {
        return Ok(user);
    }
    let token = bearer_token(headers)?;
    let certificate = match &peer.certificate {
        Certificate::Rejected | Certificate::FrontProxy if token.is_none() => {
            return Err(Error::unauthorized());
        }
        Certificate::Absent | Certificate::Rejected | Certificate::FrontProxy => None,
        Certificate::Verified(der) => Some(der.as_ref()),
    };
    let authenticator = &context.deps.authenticator;
    if certificate.is_some() {
        let alone = Credentials { client_certificate: certificate, bearer_token: None, path };
        if let Ok(Some(user)) = authenticator.authenticate(&alone).await {
            return Ok(Arc::clone(peer.by_certificate.get_or_init(|| user)));
        }
    }
    let credentials = Credentials { client_certificate: certificate, bearer_token: token.as_deref(), path };
    authenticator.authenticate(&credentials).await?.ok_or_else(Error::unauthorized)
}

/// The token of the `Authorization` header, or of a WebSocket client that cannot set headers
/// (`Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.TOKEN`).
///
/// # Errors
/// 401 for a WebSocket client's token that cannot be read, is one of several, or comes without the protocol that the
/// server would then speak.
fn bearer_token(headers: &HeaderMap) -> Result<Option<std::borrow::Cow<'_, str>>, Error> {
    if let Some(value) = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()) {
        let Some((scheme, token)) = value.trim().split_once(' ') else { return Ok(None) };
        let token = token.trim();
        let is_token = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
        return Ok(is_token.then_some(token.into()));
    }
    if !websocket::wanted(headers) {
        return Ok(None);
    }
    let headers = headers.get_all("sec-websocket-protocol").iter().filter_map(|value| value.to_str().ok());
    let protocols: Vec<&str> = headers.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut tokens = protocols.iter().filter_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL));
    let Some(encoded) = tokens.next() else { return Ok(None) };
    let decoded = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, encoded);
    let token = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let token = token.filter(|token| tokens.next().is_none() && (token.is_empty() || protocols.len() > 1));
    let token = token.ok_or_else(Error::unauthorized)?;
    Ok((!token.is_empty()).then(|| token.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(protocols: &[&str], expected: Result<Option<&str>, u16>) {
        let mut headers = HeaderMap::new();
        headers.insert("connection", http::HeaderValue::from_static("Upgrade"));
        headers.insert("upgrade", http::HeaderValue::from_static("websocket"));
        for protocol in protocols {
            headers.append("sec-websocket-protocol", protocol.parse().expect("a header's value"));
        }
        let found = bearer_token(&headers).map_err(|error| error.code());
        assert_eq!(
            found.as_ref().map(Option::as_deref),
            expected.as_ref().map(|token| *token),
            "{protocols:?}"
        );
        headers.remove("upgrade");
        assert_eq!(bearer_token(&headers).expect("no WebSocket, no token"), None);
    }

    #[test]
    fn tokens_among_the_protocols_of_websockets_are_read_or_refused() {
        // "abc" in base64.
        let token = "base64url.bearer.authorization.k8s.io.YWJj";
        check(&["v4.channel.k8s.io"], Ok(None));
        check(&[&format!("{token}, v4.channel.k8s.io")], Ok(Some("abc")));
        check(&[token, "v4.channel.k8s.io"], Ok(Some("abc")));
        check(&[token], Err(401));
        check(&[token, token, "v4.channel.k8s.io"], Err(401));
        check(&["base64url.bearer.authorization.k8s.io.!!, v4.channel.k8s.io"], Err(401));
        check(&["base64url.bearer.authorization.k8s.io._w, v4.channel.k8s.io"], Err(401));
        check(&["base64url.bearer.authorization.k8s.io."], Ok(None));
    }
}
