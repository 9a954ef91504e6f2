//! The paths that are no resource: health, version, metrics, discovery, OpenAPI, token keys.

use std::time::Duration;

use api::Error;
use base::metrics::Format;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use crate::body::Body;
use crate::build::Version;
use crate::context::Context;
use crate::request::call::Call;
use crate::respond::{self, Outcome};

/// How long the store may take to show that it works, as upstream (`--etcd-healthcheck-timeout`).
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// Answers a request for such a path.
pub(crate) async fn answer(context: &Context, call: &Call) -> Outcome {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Error::no_such_path());
    }
    let path = call.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if matches!(parts.first(), Some(&("api" | "apis" | "openapi"))) {
        context.deps.resources.settled().await;
    }
    match parts.as_slice() {
        [kind @ ("healthz" | "livez" | "readyz"), only @ ..] => {
            let (health, store) = (&context.health, store_health(context).await);
            // The names of some checks have slashes.
            let only = (!only.is_empty()).then(|| only.join("/"));
            let answer = health.answer(kind, only.as_deref(), &call.query, &context.metrics, &store);
            answer.ok_or_else(Error::no_such_path)
        }
        ["version"] => version(context.commit),
        ["metrics"] => metrics(context, call).await,
        ["metrics", "slis"] => slis(context, call),
        ["api" | "apis", ..] if parts.len() <= 3 => {
            let (kinds, aggregator) = (context.deps.resources.as_ref(), context.deps.aggregator.as_ref());
            context.discovery.answer(kinds, aggregator, call, &parts)
        }
        ["openapi", ..] => {
            let (kinds, aggregator) = (context.deps.resources.as_ref(), context.deps.aggregator.as_ref());
            context.openapi.answer(kinds, aggregator, call, &parts, context.deps.clock.now()).await
        }
        ["openid", "v1", "jwks"] => {
            let tokens = context.deps.tokens.as_ref().ok_or_else(Error::no_such_path)?;
            let keys = tokens.jwks().to_string();
            Ok(public(respond::with_type(StatusCode::OK, "application/jwk-set+json", keys)))
        }
        [".well-known", "openid-configuration"] => {
            let tokens = context.deps.tokens.as_ref().ok_or_else(Error::no_such_path)?;
            let document = tokens.openid_configuration().to_string();
            Ok(public(respond::json_bytes(StatusCode::OK, document)))
        }
        ["debug", "api_priority_and_fairness", dump] => {
            let details = call.query.non_empty("includeRequestDetails").is_some();
            let text = context.fairness.dump(dump, details).ok_or_else(Error::no_such_path)?;
            Ok(respond::text(StatusCode::OK, text))
        }
        [""] | [] => index(context),
        _ => Err(Error::no_such_path()),
    }
}

/// How the store is, which may be on the other side of a network.
async fn store_health(context: &Context) -> Result<(), String> {
    let store = &context.deps.store;
    match tokio::time::timeout(STORE_PATIENCE, store.revision()).await {
        Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", STORE_PATIENCE.as_secs())),
    }
}

/// An answer that is the same for everybody, and may be kept for an hour.
fn public(mut answer: http::Response<Body>) -> http::Response<Body> {
    let keep = HeaderValue::from_static("public, max-age=3600");
    answer.headers_mut().insert(http::header::CACHE_CONTROL, keep);
    answer
}

/// `/`: what there is.
fn index(context: &Context) -> Outcome {
    let (kinds, aggregator) = (context.deps.resources.as_ref(), context.deps.aggregator.as_ref());
    let mut paths = context.discovery.paths(kinds, aggregator);
    let more = [
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ];
    paths.extend(more.map(str::to_owned));
    paths.sort();
    paths.dedup();
    // Indented and without a newline, as upstream's.
    Ok(respond::json_bytes(StatusCode::OK, format!("{:#}", json!({"paths": paths}))))
}

/// The form of figures that the caller accepts.
fn exposition(call: &Call) -> Format {
    let accept = call.headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok());
    Format::accepted(accept.unwrap_or_default())
}

fn slis(context: &Context, call: &Call) -> Outcome {
    let format = exposition(call);
    let text = context.metrics.render_slis(format).map_err(Error::internal)?;
    Ok(respond::with_type(StatusCode::OK, format.content_type(), text))
}

async fn metrics(context: &Context, call: &Call) -> Outcome {
    let format = exposition(call);
    let deps = &context.deps;
    // A store that cannot say how large it is leaves the last figure standing.
    let size_bytes = deps.store.size_bytes().await.ok();
    context.metrics.storage.look(&deps.resources.table(), &deps.cache, size_bytes);
    let text = context.metrics.render(context.fairness.now(), format).map_err(Error::internal)?;
    Ok(respond::with_type(StatusCode::OK, format.content_type(), text))
}

fn version(commit: &'static str) -> Outcome {
    // Indented as upstream's, for those who read it with curl.
    let text = serde_json::to_string_pretty(&Version::built_from(commit)).map_err(Error::internal)?;
    Ok(respond::json_bytes(StatusCode::OK, text))
}
