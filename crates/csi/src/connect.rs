//! A client's way to a plugin's unix socket.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::registration_v1::registration_client;
use crate::v1::node_client;

/// Calls of a driver's Node service.
pub type NodeClient = node_client::NodeClient<Channel>;
/// Calls of a plugin's registration.
pub type RegistrationClient = registration_client::RegistrationClient<Channel>;

/// The largest message that is accepted or sent, in bytes (gRPC's own default: 4 MiB).
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// How long a plugin may take to accept a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// The longest path that fits into a socket's address (unix(7)), in bytes.
const MAX_ADDRESS: usize = 107;

/// Why a plugin could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("failed to dial socket {}: {reason}", path.display())]
pub struct ConnectError {
    path: PathBuf,
    reason: String,
}

impl ConnectError {
    pub(crate) fn new(path: &Path, reason: String) -> Self {
        Self { path: path.to_owned(), reason }
    }
}

/// Connects to the Node service of the driver that listens on the unix socket `path`.
///
/// # Errors
/// When nothing accepts a connection there within ten seconds.
pub async fn node(path: &Path) -> Result<NodeClient, ConnectError> {
    let client = NodeClient::new(channel(path).await?);
    Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
}

/// Connects to the registration of the plugin that listens on the unix socket `path`.
///
/// # Errors
/// When nothing accepts a connection there within ten seconds.
pub async fn registration(path: &Path) -> Result<RegistrationClient, ConnectError> {
    let client = RegistrationClient::new(channel(path).await?);
    Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
}

async fn channel(path: &Path) -> Result<Channel, ConnectError> {
    let socket = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { stream(&socket).await.map(TokioIo::new) }
    });
    // The address is never resolved: the connector above decides where the bytes go.
    let endpoint = Endpoint::from_static("http://localhost");
    let connecting = endpoint.connect_with_connector(connector);
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| fail(path, &error)),
        Err(_) => Err(ConnectError::new(path, "context deadline exceeded".to_owned())),
    }
}

/// An error with what caused it: the outermost of tonic's errors says no more than `transport error`.
pub(crate) fn fail(path: &Path, error: &dyn std::error::Error) -> ConnectError {
    let causes = std::iter::successors(Some(error), |error| error.source());
    ConnectError::new(path, causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// A path that is too long for a socket's address is reached through its folder, which is held open meanwhile.
pub(crate) async fn stream(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= MAX_ADDRESS {
        return UnixStream::connect(path).await;
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = rustix::fs::open(folder, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(held.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_are_reached_also_by_paths_longer_than_an_address() {
        let dir = tempfile::tempdir().expect("a folder");
        let deep = dir.path().join("d".repeat(100));
        std::fs::create_dir(&deep).expect("made");
        let link = dir.path().join("l");
        std::os::unix::fs::symlink(&deep, &link).expect("linked");
        let listener = tokio::net::UnixListener::bind(link.join("csi.sock")).expect("bound by a short path");
        let long = deep.join("csi.sock");
        assert!(long.as_os_str().len() > MAX_ADDRESS);
        let (accepted, connected) = tokio::join!(listener.accept(), stream(&long));
        assert!(accepted.is_ok() && connected.is_ok());
    }

    #[tokio::test]
    async fn who_is_not_there_is_named() {
        let error = node(Path::new("/no/such.sock")).await.map(drop).map_err(|error| error.to_string());
        let text = error.expect_err("nobody listens");
        assert!(text.starts_with("failed to dial socket /no/such.sock: "), "{text}");
        assert!(text.contains("No such file"), "{text}");
    }
}
