//! Exec, attach and port-forward: the runtime names a URL for the stream, and this connection becomes
//! a pipe to it. WebSocket or SPDY, the node never looks inside.

use std::time::Duration;

use cri::v1;
use http::uri::Uri;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::{self, Body, BoxError};
use super::{ServerDeps, query};
use crate::seams::{ContainerHandle, LookupError};

/// How long the runtime may take to take the stream up.
const PATIENCE: Duration = Duration::from_secs(30);
const BUFFER: usize = 64 << 10;
/// Of an answer that is no stream.
const ANSWER_LIMIT: usize = 1 << 20;

pub async fn exec(
    deps: &ServerDeps,
    found: Result<ContainerHandle, LookupError>,
    request: Request<Incoming>,
) -> Response<Body> {
    let container = match found {
        Ok(container) => container,
        Err(error) => return answer::lookup_failed(&error),
    };
    let pairs = query::pairs(request.uri().query());
    let cmd = pairs.iter().filter(|(n, _)| n == "command").map(|(_, v)| v.clone()).collect();
    let tty = query::flag(&pairs, &["tty"]);
    let wanted = v1::ExecRequest {
        container_id: container.id,
        cmd,
        tty,
        stdin: query::flag(&pairs, &["input", "stdin"]),
        stdout: query::flag(&pairs, &["output", "stdout"]),
        // A terminal has one output.
        stderr: !tty && query::flag(&pairs, &["error", "stderr"]),
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        let text = "you must specify at least 1 of stdin, stdout, stderr";
        return answer::text(StatusCode::BAD_REQUEST, text);
    }
    let mut runtime = deps.runtime.clone();
    let url = deps.operations.counted("exec", runtime.exec(wanted)).await.map(|r| r.into_inner().url);
    forward(deps, url, request).await
}

pub async fn attach(
    deps: &ServerDeps,
    found: Result<ContainerHandle, LookupError>,
    request: Request<Incoming>,
) -> Response<Body> {
    let container = match found {
        Ok(container) => container,
        Err(error) => return answer::lookup_failed(&error),
    };
    let pairs = query::pairs(request.uri().query());
    let tty = query::flag(&pairs, &["tty"]);
    let wanted = v1::AttachRequest {
        container_id: container.id,
        stdin: query::flag(&pairs, &["input", "stdin"]),
        tty,
        stdout: query::flag(&pairs, &["output", "stdout"]),
        stderr: !tty && query::flag(&pairs, &["error", "stderr"]),
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        let text = "you must specify at least 1 of stdin, stdout, stderr";
        return answer::text(StatusCode::BAD_REQUEST, text);
    }
    let mut runtime = deps.runtime.clone();
    let url = deps.operations.counted("attach", runtime.attach(wanted)).await.map(|r| r.into_inner().url);
    forward(deps, url, request).await
}

pub async fn port_forward(
    deps: &ServerDeps,
    found: Result<String, LookupError>,
    request: Request<Incoming>,
) -> Response<Body> {
    let pod_sandbox_id = match found {
        Ok(id) => id,
        Err(error) => return answer::lookup_failed(&error),
    };
    let pairs = query::pairs(request.uri().query());
    let mut port = Vec::new();
    for (_, value) in pairs.iter().filter(|(n, _)| n == "port" || n == "ports") {
        for number in value.split(',') {
            match number.parse::<u16>() {
                Ok(number) if number > 0 => port.push(i32::from(number)),
                _ => return answer::text(StatusCode::BAD_REQUEST, format!("invalid port {number:?}")),
            }
        }
    }
    let wanted = v1::PortForwardRequest { pod_sandbox_id, port };
    let mut runtime = deps.runtime.clone();
    let url = deps
        .operations
        .counted("port_forward", runtime.port_forward(wanted))
        .await
        .map(|r| r.into_inner().url);
    forward(deps, url, request).await
}

/// Passes the request on to the stream's URL and, if both sides change protocols, the bytes after it.
pub(super) async fn forward(
    deps: &ServerDeps,
    url: Result<String, tonic::Status>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let url = match url {
        Ok(url) => url,
        Err(status) => {
            let code = match status.code() {
                tonic::Code::NotFound => StatusCode::NOT_FOUND,
                tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition => StatusCode::BAD_REQUEST,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return answer::text(code, status.message());
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reach(deps, &url, &request)).await;
    let mut response = match reached {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            return answer::text(StatusCode::BAD_GATEWAY, format!("the runtime's stream: {error}"));
        }
        Err(_) => return answer::text(StatusCode::GATEWAY_TIMEOUT, "the runtime's stream does not answer"),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = response.into_parts();
        let limited = Limited::new(body, ANSWER_LIMIT).boxed_unsync();
        return Response::from_parts(parts, limited);
    }
    let upstream = hyper::upgrade::on(&mut response);
    let downstream = hyper::upgrade::on(&mut request);
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(base::TaskKind::Background, "stream to a container", async move {
        tokio::select! {
            result = pipe(upstream, downstream) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a stream to a container broke");
                }
            }
            () = shutdown.started() => {}
        }
    });
    let mut switched = Response::new(answer::body(""));
    *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *switched.headers_mut() = response.headers().clone();
    switched
}

/// Connects to the URL and sends it the request's method and headers.
async fn reach(
    deps: &ServerDeps,
    url: &str,
    request: &Request<Incoming>,
) -> Result<Response<Incoming>, BoxError> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().ok_or("the URL names no host")?.clone();
    if uri.scheme_str() != Some("http") {
        return Err("only http streams are implemented".into());
    }
    let socket = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    deps.supervisor.spawn(base::TaskKind::Background, "stream connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to the runtime's stream ended");
        }
    });
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut onward =
        Request::builder().method(request.method()).uri(path).body(Empty::<bytes::Bytes>::new())?;
    *onward.headers_mut() = onward_headers(request.headers());
    onward.headers_mut().insert(header::HOST, authority.as_str().parse()?);
    Ok(sender.send_request(onward).await?)
}

/// What concerns the stream itself; credentials stay here.
fn onward_headers(headers: &HeaderMap) -> HeaderMap {
    let mut out = headers.clone();
    for gone in [header::HOST, header::AUTHORIZATION, header::COOKIE, header::CONTENT_LENGTH] {
        out.remove(gone);
    }
    out
}

async fn pipe(a: hyper::upgrade::OnUpgrade, b: hyper::upgrade::OnUpgrade) -> Result<(), BoxError> {
    let (a, b) = tokio::try_join!(a, b)?;
    let (mut a, mut b) = (TokioIo::new(a), TokioIo::new(b));
    tokio::io::copy_bidirectional_with_sizes(&mut a, &mut b, BUFFER, BUFFER).await?;
    Ok(())
}
