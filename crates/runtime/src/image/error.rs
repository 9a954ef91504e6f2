//! Why something about images failed, in the words the kubelet shows.
//!
//! Owns the error type of the image side. Never decides on retries.

use std::io;
use std::path::Path;

use oci::ReferenceError;

use super::manifest::DocumentError;
use crate::snapshot::SnapshotError;

/// An image operation's failure.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("failed to parse image reference {text:?}: {source}")]
    Name { text: String, source: ReferenceError },
    #[error("image {0:?} not found")]
    NotFound(String),
    #[error("failed to pull and unpack image {name:?}: {cause}")]
    Pull { name: String, cause: PullError },
    #[error("invalid image archive: {0}")]
    Archive(String),
    #[error("invalid image archive: {0}")]
    ArchiveRead(#[source] io::Error),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("another process has the image store {0} open")]
    Locked(String),
    #[error("{context}: {source}")]
    Io { context: String, source: io::Error },
    #[error("the task was cancelled")]
    Cancelled,
}

/// What is wrong with an image's parts once they are here.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("no match for platform in manifest: not found")]
    NoPlatform,
    #[error("the image has {layers} layers but its config names {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("content {digest}: {source}")]
    Blob { digest: crate::digest::Digest, source: io::Error },
}

/// Why a pull failed; the texts follow containerd's resolver and fetcher.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("failed to resolve reference {reference:?}: {reference}: not found")]
    NotFound { reference: String },
    #[error(
        "failed to resolve reference {reference:?}: pull access denied, repository does not exist or may \
         require authorization: {reason}"
    )]
    Denied { reference: String, reason: String },
    #[error("failed to resolve reference {reference:?}: {reason}")]
    Resolve { reference: String, reason: String },
    #[error("failed to copy: {what}: {reason}")]
    Fetch { what: String, reason: String },
    #[error("failed to copy: {what}: no data received from the registry for {stall_s} s")]
    Stalled { what: String, stall_s: u64 },
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Store(Box<ImageError>),
}

/// The longest message of a failure, in characters: a message may quote a registry or an archive.
const MESSAGE_LIMIT: usize = 1024;

impl ImageError {
    /// The message in one line of bounded length, without control characters: archives and registries
    /// choose parts of it.
    pub fn legible(&self) -> String {
        let text = self.to_string();
        let mut told = String::with_capacity(text.len().min(MESSAGE_LIMIT));
        for (count, character) in text.chars().enumerate() {
            match character {
                _ if count == MESSAGE_LIMIT => {
                    told.push('…');
                    break;
                }
                control if control.is_control() => told.extend(control.escape_default()),
                other => told.push(other),
            }
        }
        told
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { context: path.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_write_is_told_in_one_short_line() {
        let error = ImageError::Archive(format!("a\nb\u{1b}[31m{}", "é".repeat(5000)));
        let told = error.legible();
        assert!(told.starts_with("invalid image archive: a\\nb\\u{1b}[31mé"), "{told}");
        assert!(told.ends_with("é…") && told.chars().count() < MESSAGE_LIMIT + 20, "{told}");
    }
}
