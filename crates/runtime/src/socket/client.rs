//! The client's end of the socket.

use std::io;
use std::path::Path;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio_util::io::{ReaderStream, StreamReader};

use super::images::Outcome;
use super::{Answer, Command, Imported, Inspected, Removed};
use crate::build::request::{Event, Request as BuildRequest};

const ANSWER_LIMIT_BYTES: usize = 16 << 20;

/// Why a request through the socket failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("it cannot be read")]
    Archive(#[source] io::Error),
    #[error("the node does not answer")]
    Unreachable(#[source] io::Error),
    #[error("the node broke off")]
    Connection(#[from] hyper::Error),
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the node's answer makes no sense")]
    Answer,
}

/// Sends a request; what `read` makes of the response, during which the connection is served.
async fn exchange<B, T>(
    socket: &Path,
    path: &str,
    body: B,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, ClientError>,
) -> Result<T, ClientError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = UnixStream::connect(socket).await.map_err(ClientError::Unreachable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(path).header("host", "knarr").body(body).map_err(|_| ClientError::Answer)?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        read(response).await
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended?;
            // What was received before the end is read to its end.
            exchange.await
        }
    }
}

async fn answer_of(response: Response<Incoming>) -> Result<Answer, ClientError> {
    let body = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES).collect().await;
    let body = body.map_err(|_| ClientError::Answer)?.to_bytes();
    match serde_json::from_slice(&body) {
        Ok(Answer::Error(reason)) => Err(ClientError::Refused(reason)),
        Ok(answer) => Ok(answer),
        Err(_) => Err(ClientError::Answer),
    }
}

/// Sends the archive at `path` to the node that serves `socket`.
pub async fn import_file(socket: &Path, path: &Path) -> Result<Vec<Imported>, ClientError> {
    let file = File::open(path).await.map_err(ClientError::Archive)?;
    if file.metadata().await.map_err(ClientError::Archive)?.is_dir() {
        return Err(ClientError::Archive(io::ErrorKind::IsADirectory.into()));
    }
    let body = StreamBody::new(ReaderStream::with_capacity(file, 128 << 10).map_ok(Frame::data));
    match exchange(socket, "/import", body, answer_of).await? {
        Answer::Images(images) => Ok(images),
        _ => Err(ClientError::Answer),
    }
}

/// Builds an image; `archive` is the context. `hear` gets each event; the last one is the build's end.
pub async fn build(
    socket: &Path,
    request: &BuildRequest,
    archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    mut hear: impl FnMut(Event),
) -> Result<(), ClientError> {
    let json = serde_json::to_vec(request).map_err(|_| ClientError::Answer)?;
    let length = u32::try_from(json.len()).map_err(|_| ClientError::Answer)?;
    let start = [Bytes::copy_from_slice(&length.to_be_bytes()), Bytes::from(json)];
    let chunks = futures::StreamExt::chain(futures::stream::iter(start.map(Ok)), archive);
    let body = StreamBody::new(chunks.map_ok(Frame::data));
    exchange(socket, "/build", body, async |response: Response<Incoming>| {
        if response.status() != StatusCode::OK {
            return answer_of(response).await.and(Err(ClientError::Answer));
        }
        let chunks = response.into_body().into_data_stream().map_err(io::Error::other);
        let mut lines = BufReader::new(StreamReader::new(chunks)).lines();
        while let Some(line) = lines.next_line().await.map_err(ClientError::Unreachable)? {
            hear(serde_json::from_str(&line).map_err(|_| ClientError::Answer)?);
        }
        Ok(())
    })
    .await
}

async fn outcome(socket: &Path, command: &Command) -> Result<Outcome, ClientError> {
    let json = serde_json::to_vec(command).map_err(|_| ClientError::Answer)?;
    match exchange(socket, "/images", Full::new(Bytes::from(json)), answer_of).await? {
        Answer::Done(outcome) => Ok(outcome),
        _ => Err(ClientError::Answer),
    }
}

/// Gives an image a further name; the whole name.
pub async fn tag(socket: &Path, source: &str, target: &str) -> Result<String, ClientError> {
    let command = Command::Tag { source: source.to_owned(), target: target.to_owned() };
    match outcome(socket, &command).await? {
        Outcome::Tagged(name) => Ok(name),
        _ => Err(ClientError::Answer),
    }
}

/// Takes a name away, and the image with its last one.
pub async fn remove(socket: &Path, reference: &str) -> Result<Removed, ClientError> {
    match outcome(socket, &Command::Remove { reference: reference.to_owned() }).await? {
        Outcome::Removed(removed) => Ok(removed),
        _ => Err(ClientError::Answer),
    }
}

/// Removes what nobody needs; what went, and the bytes it gave back.
pub async fn prune(socket: &Path, all: bool) -> Result<(Vec<Removed>, u64), ClientError> {
    match outcome(socket, &Command::Prune { all }).await? {
        Outcome::Pruned { removed, freed_bytes } => Ok((removed, freed_bytes)),
        _ => Err(ClientError::Answer),
    }
}

/// All about an image.
pub async fn inspect(socket: &Path, reference: &str) -> Result<Inspected, ClientError> {
    match outcome(socket, &Command::Inspect { reference: reference.to_owned() }).await? {
        Outcome::Inspected(inspected) => Ok(*inspected),
        _ => Err(ClientError::Answer),
    }
}

/// Writes an archive of images to `out`.
pub async fn save(
    socket: &Path,
    references: &[String],
    out: &mut (impl AsyncWrite + Unpin),
) -> Result<(), ClientError> {
    let json = serde_json::to_vec(references).map_err(|_| ClientError::Answer)?;
    exchange(socket, "/save", Full::new(Bytes::from(json)), async |response: Response<Incoming>| {
        if response.status() != StatusCode::OK {
            return answer_of(response).await.and(Err(ClientError::Answer));
        }
        let mut chunks = response.into_body().into_data_stream();
        while let Some(chunk) = chunks.try_next().await? {
            out.write_all(&chunk).await.map_err(ClientError::Output)?;
        }
        out.flush().await.map_err(ClientError::Output)
    })
    .await
}
