//! A client's way to a runtime's unix socket.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::v1::image_service_client;
use crate::v1::runtime_service_client;

/// Calls of sandboxes and containers.
pub type RuntimeServiceClient = runtime_service_client::RuntimeServiceClient<Channel>;
/// Calls of images.
pub type ImageServiceClient = image_service_client::ImageServiceClient<Channel>;

/// The largest message that is accepted, in bytes (as kubelet's client: 16 MiB).
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Why a runtime could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the container runtime at {path}: {source}")]
pub struct ConnectError {
    path: PathBuf,
    #[source]
    source: tonic::transport::Error,
}

/// Connects to the runtime that listens on the unix socket `path`.
///
/// Both clients share one connection, which is made again by itself after the runtime restarts.
///
/// # Errors
/// When nothing accepts a connection there now.
pub async fn connect(path: &Path) -> Result<(RuntimeServiceClient, ImageServiceClient), ConnectError> {
    let socket = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is never resolved: the connector above decides where the bytes go.
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .map_err(|source| ConnectError { path: path.to_owned(), source })?;
    Ok((
        RuntimeServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
        ImageServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    ))
}
