//! Commands about images: names, details, removal, archives.

use std::io;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;

use super::Body;
use crate::image::ImageStore;

const COMMAND_LIMIT_BYTES: usize = 1 << 20;
const PIPE_BYTES: usize = 256 << 10;

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Command {
    Tag { source: String, target: String },
    Remove { reference: String },
    Prune { all: bool },
    Inspect { reference: String },
}

/// What came of a command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Tagged(String),
    Removed(Removed),
    Pruned { removed: Vec<Removed>, freed_bytes: u64 },
    Inspected(Box<Inspected>),
}

/// The names that an image lost, and its id where it is gone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Removed {
    pub untagged: Vec<String>,
    pub deleted: Option<String>,
}

/// An image in full.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspected {
    pub id: String,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    pub size_bytes: u64,
    /// As written.
    pub config: serde_json::Value,
    /// In order, the newest last.
    pub history: Vec<History>,
}

/// One instruction by which an image was made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    pub created: String,
    pub created_by: String,
    pub comment: String,
    /// Of the layer's archive; none where the instruction made no layer.
    pub size_bytes: u64,
}

pub(super) async fn carry_out(store: &ImageStore, body: Incoming) -> Result<Outcome, String> {
    let command: Command = read(body).await?;
    let removed = |dropped: crate::image::Dropped| Removed {
        untagged: dropped.untagged,
        deleted: dropped.deleted.map(|id| id.to_string()),
    };
    let outcome = match command {
        Command::Tag { source, target } => store.tag(&source, &target).await.map(Outcome::Tagged),
        Command::Remove { reference } => {
            store.drop_reference(&reference).await.map(|dropped| Outcome::Removed(removed(dropped)))
        }
        Command::Prune { all } => store.prune(all).await.map(|(dropped, freed_bytes)| Outcome::Pruned {
            removed: dropped.into_iter().map(removed).collect(),
            freed_bytes,
        }),
        Command::Inspect { reference } => {
            store.details(&reference).await.map(|details| Outcome::Inspected(Box::new(inspected(details))))
        }
    };
    outcome.map_err(|error| error.legible())
}

fn inspected(details: crate::image::Details) -> Inspected {
    let mut sizes = details.manifest.layers.iter().map(|layer| layer.size);
    let past = details.config["history"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let history = past.iter().map(|entry| History {
        created: text(&entry["created"]),
        created_by: text(&entry["created_by"]),
        comment: text(&entry["comment"]),
        size_bytes: if entry["empty_layer"] == true { 0 } else { sizes.next().unwrap_or(0) },
    });
    Inspected {
        history: history.collect(),
        id: details.record.id.to_string(),
        tags: details.record.tags.into_iter().collect(),
        digests: details.record.digests.into_iter().collect(),
        size_bytes: details.record.size_bytes,
        config: details.config,
    }
}

async fn read<T: serde::de::DeserializeOwned>(body: Incoming) -> Result<T, String> {
    let body = Limited::new(body, COMMAND_LIMIT_BYTES).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

/// An archive of the images that the body names.
pub(super) async fn save(store: &ImageStore, body: Incoming) -> Result<Body, String> {
    let names: Vec<String> = read(body).await?;
    if let Some(missing) = names.iter().find(|name| store.status(name).is_none()) {
        return Err(format!("image {missing:?} not found"));
    }
    let (writer, reader) = tokio::io::duplex(PIPE_BYTES);
    let store = store.clone();
    let written = tokio::task::spawn_blocking(move || {
        let out = io::BufWriter::with_capacity(PIPE_BYTES, tokio_util::io::SyncIoBridge::new(writer));
        store.save(&names, out).map_err(|error| io::Error::other(error.legible()))
    });
    // A failure breaks the response off, so that nobody takes half an archive for a whole one.
    let end = futures::stream::once(async {
        match written.await {
            Ok(Ok(())) => Ok(Bytes::new()),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    });
    let chunks = ReaderStream::with_capacity(reader, 64 << 10).chain(end);
    Ok(StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync())
}
