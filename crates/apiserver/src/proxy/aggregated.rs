//! Forwards a client's request to the server that is registered for its group and version. Upstream:
//! `kube-aggregator/pkg/apiserver/handler_proxy.go` and `apimachinery/pkg/util/proxy`.
//!
//! The request has passed authentication and authorization here, and says in its headers whose it is. Methods, bodies,
//! watches and upgrades pass as they come. What goes wrong on the way is said in plain text, as upstream says it.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, HOST, LOCATION,
};
use http::{HeaderValue, Request, Response, StatusCode};

use super::forward::{self, encoded};
use crate::aggregator::registry::Registered;
use crate::aggregator::{Aggregator, Unanswered};
use crate::body::Body;
use crate::context::Context;
use crate::identity::authn::request_header;
use crate::request::call::Call;
use crate::request::path::RequestInfo;
use crate::respond::{self, Outcome};

/// The server of a request, where that is another one.
pub(crate) fn server<'a>(
    context: &'a Context,
    info: &RequestInfo,
) -> Option<(&'a Aggregator, Arc<Registered>)> {
    let aggregator = context.deps.aggregator.as_ref().filter(|aggregator| aggregator.has_remotes())?;
    let path = info.path.trim_matches('/');
    // Its documents are its own, too.
    let (path, is_document) = match path.strip_prefix("openapi/v3/") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let mut parts = path.split('/');
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    // Whoever may read documents may not read what a path below one could lead to.
    if is_document && parts.next().is_some() {
        return None;
    }
    Some((aggregator, aggregator.remote(group, version)?))
}

/// Forwards the request and hands the answer on.
///
/// # Errors
/// When the user has a name that cannot be forwarded, or an upgrade goes wrong.
pub(crate) async fn forward(
    context: &Context,
    aggregator: &Aggregator,
    registered: &Registered,
    mut call: Call,
) -> Outcome {
    let Some(remote) = registered.remote.as_ref().filter(|remote| remote.available) else {
        return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"));
    };
    let upgrade = forward::wants_upgrade(&call.headers);
    let mut request = Request::new(call.take_body());
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = path_and_query(&call).parse().map_err(api::Error::internal)?;
    let headers = request.headers_mut();
    *headers = forward::headers(&call, upgrade);
    let named: Vec<_> = headers.keys().filter(|name| request_header::is_about_user(name)).cloned().collect();
    for name in named {
        headers.remove(name);
    }
    request_header::write(headers, &call.user)?;
    let host = forward::asked_host(&call).or_else(|| HeaderValue::try_from(remote.server.host()).ok());
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host.clone());
        headers.insert(HOST, host);
    }
    if let Ok(uri) = HeaderValue::try_from(call.uri.path()) {
        headers.insert("x-forwarded-uri", uri);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    match aggregator.send(&remote.server, request).await {
        Ok(response) if is_redirect(&response) => {
            let why = "the backend attempted to redirect this request, which is not permitted";
            Ok(refusal(StatusCode::BAD_GATEWAY, why))
        }
        Ok(mut response) => {
            for name in [
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                ACCESS_CONTROL_ALLOW_HEADERS,
                ACCESS_CONTROL_ALLOW_METHODS,
                ACCESS_CONTROL_ALLOW_ORIGIN,
            ] {
                response.headers_mut().remove(name);
            }
            forward::answer(context, call, upgrade, response)
        }
        Err(why) => Ok(unanswered(registered, why)),
    }
}

/// The decoded path encoded again, so that the other server reads what was authorized, and the query as it came.
fn path_and_query(call: &Call) -> String {
    let mut path = call.info.path.split('/').map(encoded).collect::<Vec<_>>().join("/");
    if let Some(query) = call.uri.query() {
        path.push('?');
        path.push_str(query);
    }
    path
}

fn is_redirect<B>(response: &Response<B>) -> bool {
    response.status().is_redirection() && response.headers().contains_key(LOCATION)
}

fn unanswered(registered: &Registered, why: Unanswered) -> Response<Body> {
    tracing::debug!(name = registered.name, ?why, "another server has not answered");
    match why {
        Unanswered::Unresolved(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
        Unanswered::Untrusted(why) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &why),
        Unanswered::Unreached(why) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, &format!("error trying to reach service: {why}"))
        }
    }
}

/// As Go's `http.Error` says it.
fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    respond::text(status, format!("{why}\n"))
}
