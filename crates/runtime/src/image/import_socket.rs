//! Importing archives into a running node: a unix socket that takes an archive and answers what was in it.
//!
//! Owns both ends, server and client: `POST /import` with the archive as body, JSON back. CRI has no
//! such call. The socket belongs to root alone. Never reads a file for the client: it sends the bytes.

use std::convert::Infallible;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base::Shutdown;
use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::store::ImageStore;

const ANSWER_LIMIT_BYTES: usize = 1 << 20;
const LIMITS: serving::Limits =
    serving::Limits { server: "image import", connections: 1000, excess: serving::Excess::Closed };

/// An image that came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// `sha256:…` of its config.
    pub id: String,
    /// Its names with tags; may be none.
    pub tags: Vec<String>,
}

/// Why an import through the socket failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("it cannot be read")]
    Archive(#[source] std::io::Error),
    #[error("the node does not answer")]
    Unreachable(#[source] std::io::Error),
    #[error("the node broke off")]
    Connection(#[from] hyper::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the node's answer makes no sense")]
    Answer,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Images(Vec<Imported>),
    Error(String),
}

/// Serves imports on `socket`, which is replaced where it is left over, until `shutdown` starts.
///
/// Errors: the socket cannot be made.
pub async fn serve(store: ImageStore, socket: &Path, shutdown: Shutdown) -> std::io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600))?;
    drop(serving::accept(listener, LIMITS, &shutdown, |socket, _| converse(store.clone(), socket)).await);
    Ok(())
}

async fn converse(store: ImageStore, socket: UnixStream) {
    let service = hyper::service::service_fn(|request| {
        let store = store.clone();
        async move { Ok::<_, Infallible>(answer(&store, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an import's client left early");
    }
}

async fn answer(store: &ImageStore, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (code, answer) = match (request.method(), request.uri().path()) {
        (&http::Method::POST, "/import") => import(store, request.into_body()).await,
        _ => (StatusCode::NOT_FOUND, Answer::Error("not found".to_owned())),
    };
    let json = serde_json::to_vec(&answer).expect("strings always serialize");
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = code;
    response
}

async fn import(store: &ImageStore, body: Incoming) -> (StatusCode, Answer) {
    let chunks = body.into_data_stream().map_err(std::io::Error::other);
    let archive = ReadToEnd(SyncIoBridge::new(StreamReader::new(chunks)));
    match store.import(archive).await {
        Ok(images) => {
            let imported = images.into_iter().map(|image| {
                tracing::info!(id = %image.id, tags = ?image.tags, "imported an image");
                Imported { id: image.id.to_string(), tags: image.tags.into_iter().collect() }
            });
            (StatusCode::OK, Answer::Images(imported.collect()))
        }
        Err(e) => (StatusCode::UNPROCESSABLE_ENTITY, Answer::Error(e.legible())),
    }
}

/// A request's body, always read to its end: a client that is still sending would not read the response.
struct ReadToEnd<R: Read>(R);

impl<R: Read> Read for ReadToEnd<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buf)
    }
}

impl<R: Read> Drop for ReadToEnd<R> {
    fn drop(&mut self) {
        if let Err(error) = std::io::copy(&mut self.0, &mut std::io::sink()) {
            tracing::debug!(%error, "an import's client left early");
        }
    }
}

/// Sends the archive at `path` to the node that serves `socket`.
pub async fn import_file(socket: &Path, path: &Path) -> Result<Vec<Imported>, ImportError> {
    let file = File::open(path).await.map_err(ImportError::Archive)?;
    if file.metadata().await.map_err(ImportError::Archive)?.is_dir() {
        return Err(ImportError::Archive(std::io::ErrorKind::IsADirectory.into()));
    }
    let stream = UnixStream::connect(socket).await.map_err(ImportError::Unreachable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let body = StreamBody::new(ReaderStream::with_capacity(file, 128 << 10).map_ok(Frame::data));
    let request =
        Request::post("/import").header("host", "knarr").body(body).map_err(|_| ImportError::Answer)?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let answer = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES).collect().await;
        answer.map_err(|_| ImportError::Answer).map(|body| body.to_bytes())
    };
    let mut connection = std::pin::pin!(connection);
    let answer = tokio::select! {
        answer = exchange => answer?,
        ended = &mut connection => {
            ended?;
            return Err(ImportError::Answer);
        }
    };
    match serde_json::from_slice(&answer) {
        Ok(Answer::Images(images)) => Ok(images),
        Ok(Answer::Error(reason)) => Err(ImportError::Refused(reason)),
        Err(_) => Err(ImportError::Answer),
    }
}

#[cfg(test)]
#[path = "import_socket/privileged.rs"]
mod privileged;
