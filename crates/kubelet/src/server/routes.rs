//! The paths of the node's API, as upstream's kubelet has them.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;

use super::access::{self, Needed};
use super::answer::{self, Body};
use super::reviews::Identity;
use super::{
    ServerDeps, configz, container_logs, metrics, node_logs, query, running_pods, stats, streaming, usage,
};

/// Answers one request of the client whose certificate says so, or who sends a token.
pub async fn answer(
    deps: Arc<ServerDeps>,
    certified: Option<Identity>,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(segments) = query::segments(request.uri().path()) else {
        return answer::text(StatusCode::BAD_REQUEST, "the path cannot be read");
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let identity = match certified {
        Some(identity) => Some(identity),
        None => by_token(&deps, &request).await,
    };
    let Some(identity) = identity else {
        return answer::text(StatusCode::UNAUTHORIZED, "Unauthorized");
    };
    if let Err(refusal) = authorize(&deps, &identity, access::needed(request.method(), &segments)).await {
        return refusal;
    }
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    match segments.as_slice() {
        ["healthz"] if read => answer::text(StatusCode::OK, "ok"),
        ["pods"] if read => pods(&deps),
        ["metrics"] if read => {
            let claims = deps.volumes.claim_figures().await;
            deps.claims.shown(&claims, || metrics::answer(&deps.metrics, request.headers()))
        }
        ["logs", path @ ..] if read => {
            let is_folder = request.uri().path().ends_with('/');
            node_logs::answer(&deps, path, is_folder, request.uri().query()).await
        }
        ["runningpods"] if read => running_pods::answer(&deps).await,
        ["metrics", "probes"] if read => metrics::answer(&deps.probe_metrics, request.headers()),
        ["metrics", "resource"] if read => usage::resource(&deps, request.headers()).await,
        ["metrics", "cadvisor"] if read => usage::cadvisor(&deps, request.headers()).await,
        ["configz"] if read => configz::answer(&deps.configuration),
        ["stats", "summary"] if read => stats::answer(&deps).await,
        ["containerLogs", namespace, pod, container] if read => {
            container_logs::answer(&deps, namespace, pod, container, request.uri().query()).await
        }
        ["exec", namespace, pod, container] => {
            let found = deps.pods.container(namespace, pod, container, false);
            streaming::exec(&deps, found, request).await
        }
        ["attach", namespace, pod, container] => {
            let found = deps.pods.container(namespace, pod, container, false);
            streaming::attach(&deps, found, request).await
        }
        ["portForward", namespace, pod] => {
            let found = deps.pods.sandbox(namespace, pod);
            streaming::port_forward(&deps, found, request).await
        }
        ["pods" | "runningpods" | "metrics" | "stats" | "configz" | "containerLogs" | "logs", ..]
            if !read =>
        {
            answer::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        }
        _ => answer::text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// Whose the token of the request is, if it has one that is somebody's.
async fn by_token(deps: &ServerDeps, request: &Request<Incoming>) -> Option<Identity> {
    let header = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
    match deps.reviews.who(access::bearer(header)?).await {
        Ok(identity) => identity,
        Err(error) => {
            tracing::warn!(error, "unable to authenticate a request to the node's API");
            None
        }
    }
}

/// Whether the client may; else the answer.
async fn authorize(deps: &ServerDeps, identity: &Identity, needed: Needed) -> Result<(), Response<Body>> {
    if deps.trusted.contains(identity) {
        return Ok(());
    }
    let Needed { verb, subresources } = needed;
    let user = &identity.user;
    for subresource in subresources {
        match deps.reviews.allows(identity, verb, subresource).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error, user, verb, subresource, "authorization error");
                let text = format!(
                    "Authorization error (user={user}, verb={verb}, resource=nodes, subresource={subresource})"
                );
                return Err(answer::text(StatusCode::INTERNAL_SERVER_ERROR, text));
            }
        }
    }
    let asked = subresources.join(" ");
    let text = format!("Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{asked}])\n");
    Err(answer::text(StatusCode::FORBIDDEN, text))
}

fn pods(deps: &ServerDeps) -> Response<Body> {
    let pods = deps.pods.pods();
    let items: Vec<&Pod> = pods.iter().map(AsRef::as_ref).collect();
    let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    answer::with_type(StatusCode::OK, "application/json", list.to_string())
}
