//! What the command line asks of a running node and CRI has no call for: a unix socket that takes archives and builds,
//! and gives names to images.
//!
//! Owns both ends: the server is here, what it does with images in `images`, the client in `client`. The socket belongs
//! to root alone. Never reads a file for the client: it sends the bytes.

pub mod client;
mod images;

use std::convert::Infallible;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base::Shutdown;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::build::Builds;
use crate::build::request::{REQUEST_LIMIT_BYTES, Request as BuildRequest};
use crate::image::ImageStore;
pub use images::{Command, History, Inspected, Removed};

const LIMITS: serving::Limits =
    serving::Limits { server: "images", connections: 1000, excess: serving::Excess::Closed };

/// An image that came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// `sha256:…` of its config.
    pub id: String,
    /// Its names with tags; may be none.
    pub tags: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Images(Vec<Imported>),
    Done(images::Outcome),
    Error(String),
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves on `socket`, which is replaced where it is left over, until `shutdown` starts.
///
/// Errors: the socket cannot be made.
pub async fn serve(
    store: ImageStore,
    builds: Option<Builds>,
    socket: &Path,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600))?;
    drop(
        serving::accept(listener, LIMITS, &shutdown, |socket, _| {
            converse(store.clone(), builds.clone(), socket)
        })
        .await,
    );
    Ok(())
}

async fn converse(store: ImageStore, builds: Option<Builds>, socket: UnixStream) {
    let service = hyper::service::service_fn(|request| {
        let (store, builds) = (store.clone(), builds.clone());
        async move { Ok::<_, Infallible>(answer(&store, builds, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client left early");
    }
}

async fn answer(store: &ImageStore, builds: Option<Builds>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let (code, answer) = match (request.method(), path.as_str(), builds) {
        (&http::Method::POST, "/import", _) => import(store, request.into_body()).await,
        (&http::Method::POST, "/build", Some(builds)) => match build(builds, request.into_body()).await {
            Ok(response) => return response,
            Err(text) => (StatusCode::UNPROCESSABLE_ENTITY, Answer::Error(text)),
        },
        (&http::Method::POST, "/images", _) => match images::carry_out(store, request.into_body()).await {
            Ok(outcome) => (StatusCode::OK, Answer::Done(outcome)),
            Err(text) => (StatusCode::UNPROCESSABLE_ENTITY, Answer::Error(text)),
        },
        (&http::Method::POST, "/save", _) => match images::save(store, request.into_body()).await {
            Ok(body) => return Response::new(body),
            Err(text) => (StatusCode::UNPROCESSABLE_ENTITY, Answer::Error(text)),
        },
        _ => (StatusCode::NOT_FOUND, Answer::Error("not found".to_owned())),
    };
    let json = serde_json::to_vec(&answer).expect("strings always serialize");
    let mut response = Response::new(whole(json));
    *response.status_mut() = code;
    response
}

fn whole(json: Vec<u8>) -> Body {
    Full::new(Bytes::from(json)).map_err(|never| match never {}).boxed_unsync()
}

/// A build: the length of the request in four bytes, the request, the context's archive. Events come back, a line each.
async fn build(builds: Builds, body: Incoming) -> Result<Response<Body>, String> {
    let chunks = body.into_data_stream().map_err(std::io::Error::other);
    let mut reader = ReadToEnd(SyncIoBridge::new(StreamReader::new(chunks)));
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > REQUEST_LIMIT_BYTES {
            return Err(std::io::Error::other("the request is too large"));
        }
        let mut text = vec![0; length as usize];
        reader.read_exact(&mut text)?;
        let request: BuildRequest = serde_json::from_slice(&text)?;
        Ok((request, reader))
    });
    let read = read.await.map_err(|error| error.to_string())?;
    let (request, reader) = read.map_err(|error| error.to_string())?;
    let events = builds.start(request, reader).await.map_err(|error| error.legible())?;
    let lines = tokio_stream::wrappers::ReceiverStream::new(events).map(|event| {
        let mut line = serde_json::to_vec(&event).expect("strings always serialize");
        line.push(b'\n');
        Ok::<_, std::io::Error>(Frame::data(Bytes::from(line)))
    });
    Ok(Response::new(StreamBody::new(lines).boxed_unsync()))
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

#[cfg(test)]
#[path = "socket/privileged.rs"]
mod privileged;
