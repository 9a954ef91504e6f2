//! Streams from a pod's node: logs, exec, attach, port-forward. The node agent
//! serves them; the paths are the node agent's API (upstream: `pkg/kubelet/server`).

use std::sync::{Arc, Mutex};

use api::{Error, Object, Reason};
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::connect::{self, Stream};
use super::log_options;
use crate::body::Body;
use crate::handlers::storage::Target;
use crate::proxy::forward::{encoded, send, wants_upgrade};
use crate::proxy::node;
use crate::request::call::Call;
use crate::respond::{self, Outcome};
use crate::websocket::{self, Framing};

/// How much of an agent's error is read.
const ERROR_BYTES: usize = 16 * 1024;

async fn pod(target: &Target, call: &Call) -> Result<Object, Error> {
    Ok(target.read_existing(&call.info.namespace, &call.info.name).await?.object)
}

fn names<'a>(pod: &'a Object, list: &'a str) -> impl Iterator<Item = &'a str> {
    let items = pod.at(&["spec", list]).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(|c| c["name"].as_str())
}

/// The container asked for, or the only one there is.
fn container<'a>(pod: &'a Object, asked: &'a str) -> Result<&'a str, Error> {
    if !asked.is_empty() {
        let known = ["containers", "initContainers", "ephemeralContainers"]
            .iter()
            .any(|list| names(pod, list).any(|n| n == asked));
        if !known {
            let message = format!("container {asked} is not valid for pod {}", pod.name());
            return Err(Error::bad_request(message));
        }
        return Ok(asked);
    }
    let all: Vec<&str> = names(pod, "containers").collect();
    if let [only] = all.as_slice() {
        return Ok(only);
    }
    let mut message = format!("a container name must be specified for pod {}", pod.name());
    if !all.is_empty() {
        message.push_str(&format!(", choose one of: [{}]", all.join(" ")));
    }
    let init: Vec<&str> = names(pod, "initContainers").collect();
    if !init.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    Err(Error::bad_request(message))
}

/// GET of `log`.
pub(super) async fn log(target: Target, mut call: Call) -> Outcome {
    let framing =
        if websocket::wanted(&call.headers) { Some(websocket::log_framing(&call.headers)?) } else { None };
    let options = log_options::checked(&call.query, &call.info.name)?;
    let pod = pod(&target, &call).await?;
    let container = container(&pod, call.query.get("container").unwrap_or(""))?;
    let Some(node) = pod.str_at(&["spec", "nodeName"]).filter(|n| !n.is_empty()) else {
        return logged(&target, call, respond::text(StatusCode::OK, ""), framing);
    };
    let backend = node::agent(&target.context, node)?;
    let mut path = format!("/containerLogs/{}/{}/{}", pod.namespace(), pod.name(), encoded(container));
    for (index, (name, value)) in options.iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        path.push_str(&format!("{separator}{name}={}", encoded(value)));
    }
    let context = target.context.clone();
    let asking = asking(&mut call);
    let mut response = send(&context, asking, &backend, &path).await?;
    if !response.status().is_success() {
        return Err(agent_error(response).await);
    }
    let plain = http::HeaderValue::from_static("text/plain");
    response.headers_mut().entry(http::header::CONTENT_TYPE).or_insert(plain);
    logged(&target, call, response, framing)
}

/// The call as the node's agent gets it, which has no part in the client's upgrade.
fn asking(call: &mut Call) -> Call {
    let mut headers = call.headers.clone();
    for name in [UPGRADE, CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION] {
        headers.remove(name);
    }
    let body = call.take_body();
    Call {
        info: call.info.clone(),
        method: call.method.clone(),
        uri: call.uri.clone(),
        query: call.query.clone(),
        headers,
        user: Arc::clone(&call.user),
        body: Mutex::new(body),
        upgrade: None,
        peer: call.peer,
        notes: call.notes.clone(),
    }
}

/// A log as the client wants it: as it is, or over a WebSocket.
fn logged(
    target: &Target,
    mut call: Call,
    response: http::Response<Body>,
    framing: Option<(Framing, Option<http::HeaderValue>)>,
) -> Outcome {
    match framing {
        None => Ok(response),
        Some((framing, protocol)) => {
            websocket::answer(&target.context, &mut call, response, framing, protocol)
        }
    }
}

/// An agent's refusal as a client of this server expects it: a Status with its text.
async fn agent_error(response: http::Response<Body>) -> Error {
    let status = response.status();
    let text = match Limited::new(response.into_body(), ERROR_BYTES).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let text = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|v| v["message"].as_str().map(str::to_owned))
        .unwrap_or(text);
    let reason = match status.as_u16() {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        429 => Reason::TooManyRequests,
        503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        _ => Reason::InternalError,
    };
    let text = if text.is_empty() { format!("the node answered {status}") } else { text };
    Error::new(reason, text)
}

/// `exec`, `attach` and `portforward`: the node's stream, passed through.
pub(super) async fn stream(target: Target, call: Call, stream: Stream) -> Outcome {
    if !matches!(call.method, Method::GET | Method::POST) {
        return Err(Error::method_not_allowed(&target.group_resource(), call.info.verb));
    }
    let mut options = connect::stream_options(stream, &call.query)?;
    connect::admit(&target, &call, &mut options).await?;
    let pod = pod(&target, &call).await?;
    let path = stream_path(&pod, stream, &options)?;
    let node = pod
        .str_at(&["spec", "nodeName"])
        .filter(|n| !n.is_empty())
        .ok_or_else(|| Error::bad_request(format!("pod {} does not have a host assigned", pod.name())))?;
    if !wants_upgrade(&call.headers) {
        return Err(Error::bad_request("Upgrade request required"));
    }
    let backend = node::agent(&target.context, node)?;
    let context = target.context.clone();
    let response = send(&context, call, &backend, &path).await?;
    if response.status().is_client_error() || response.status().is_server_error() {
        return Err(agent_error(response).await);
    }
    Ok(response)
}

/// Path and query on the node.
fn stream_path(pod: &Object, stream: Stream, options: &Object) -> Result<String, Error> {
    let (namespace, name) = (pod.namespace(), pod.name());
    let list = |field: &str| options.at(&[field]).and_then(Value::as_array).into_iter().flatten();
    let mut query: Vec<String> = Vec::new();
    let folder = match stream {
        Stream::Attach => "attach",
        Stream::Exec => "exec",
        Stream::PortForward => "portForward",
    };
    let path = if stream == Stream::PortForward {
        query.extend(list("ports").map(|port| format!("port={port}")));
        format!("/{folder}/{namespace}/{name}")
    } else {
        let container = container(pod, options.str_at(&["container"]).unwrap_or(""))?;
        for (asked, sent) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
            if options.at(&[asked]) == Some(&Value::Bool(true)) {
                query.push(format!("{sent}=1"));
            }
        }
        let words = list("command").filter_map(Value::as_str);
        query.extend(words.map(|word| format!("command={}", encoded(word))));
        format!("/{folder}/{namespace}/{name}/{}", encoded(container))
    };
    Ok(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_container_is_the_one_asked_for_or_the_only_one() {
        let pod = |containers: Value| {
            Object::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": containers}}))
                .unwrap()
        };
        let one = pod(json!([{"name": "a"}]));
        assert_eq!(container(&one, "").unwrap(), "a");
        assert_eq!(container(&one, "x").unwrap_err().message, "container x is not valid for pod p");
        let two = pod(json!([{"name": "a"}, {"name": "b"}]));
        assert_eq!(container(&two, "b").unwrap(), "b");
        assert_eq!(
            container(&two, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [a b]"
        );
    }
}
