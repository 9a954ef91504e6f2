//! `/containerLogs/NAMESPACE/POD/CONTAINER`: the log as the options of the query want it.

use std::io;

use bytes::Bytes;
use cri::v1::{ContainerState, ContainerStatusRequest};
use futures::StreamExt;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{self, Body};
use super::{ServerDeps, query};
use crate::logs::LogOptions;
use crate::logs::stream::{Liveness, stream};

/// Pieces of the log that may wait for a slow reader.
const QUEUE: usize = 8;

pub async fn answer(
    deps: &ServerDeps,
    namespace: &str,
    pod: &str,
    container: &str,
    raw_query: Option<&str>,
) -> Response<Body> {
    let pairs = query::pairs(raw_query);
    let borrowed = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let options = match LogOptions::parse(borrowed, deps.clock.now()) {
        Ok(options) => options,
        Err(text) => return answer::text(StatusCode::UNPROCESSABLE_ENTITY, text),
    };
    let found = match deps.pods.container(namespace, pod, container, options.previous) {
        Ok(found) => found,
        Err(error) => return answer::lookup_failed(&error),
    };
    match tokio::fs::metadata(&found.log_path).await {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = format!("unable to retrieve container logs for {}", found.id);
            return answer::text(StatusCode::NOT_FOUND, text);
        }
        Err(e) => return answer::text(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
    }
    let (sink, pieces) = mpsc::channel::<Bytes>(QUEUE);
    let liveness =
        InRuntime { runtime: deps.runtime.clone(), operations: deps.operations.clone(), id: found.id };
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(base::TaskKind::Background, "container log", async move {
        tokio::select! {
            result = stream(&found.log_path, &options, &liveness, sink) => {
                if let Err(error) = result {
                    tracing::warn!(log = %found.log_path.display(), %error, "a log could not be read to its end");
                }
            }
            () = shutdown.started() => {}
        }
    });
    let frames = ReceiverStream::new(pieces).map(|piece| Ok(Frame::data(piece)));
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let kind = http::header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

struct InRuntime {
    runtime: cri::RuntimeServiceClient,
    operations: crate::metrics::Metrics,
    id: String,
}

impl Liveness for InRuntime {
    async fn is_running(&self) -> bool {
        let request = ContainerStatusRequest { container_id: self.id.clone(), verbose: false };
        let mut runtime = self.runtime.clone();
        let status = self.operations.counted("container_status", runtime.container_status(request)).await;
        // A container the runtime no longer knows has ended.
        let state = status.ok().and_then(|s| s.into_inner().status).map(|s| s.state());
        matches!(state, Some(ContainerState::ContainerRunning | ContainerState::ContainerCreated))
    }
}
