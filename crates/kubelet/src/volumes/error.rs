//! Why a volume cannot be provided.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with one volume; the text is the tail of the `FailedMount` event.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("configmap \"{0}\" not found")]
    ConfigMapMissing(String),
    #[error("secret \"{0}\" not found")]
    SecretMissing(String),
    #[error("configmap references non-existent config key: {0}")]
    ConfigMapKeyMissing(String),
    #[error("references non-existent secret key: {0}")]
    SecretKeyMissing(String),
    #[error("invalid path {0:?}: it must be relative and must not contain '..'")]
    PathInvalid(String),
    #[error("{0}")]
    Field(#[from] crate::environment::EnvironmentError),
    #[error("volume type {0:?} is not implemented on this node")]
    Unsupported(Cow<'static, str>),
    #[error("hostPath type check failed: {path} is not a {wanted}")]
    HostPathType { path: String, wanted: &'static str },
    #[error("unknown hostPath type {0:?}")]
    HostPathTypeUnknown(String),
    #[error("error processing PVC {claim}: {why}")]
    Claim { claim: String, why: String },
    #[error("path {0:?} does not exist")]
    LocalPathMissing(PathBuf),
    #[error("the directory of the volume, {}, is gone", .0.display())]
    DirectoryLost(PathBuf),
    #[error("failed to fetch token: {0}")]
    Token(String),
    #[error("failed to sync {kind} cache: {message}")]
    Fetch { kind: &'static str, message: String },
    #[error("{doing} {}: {source}", path.display())]
    Disk { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("a file task ended early: {0}")]
    TaskLost(String),
}

impl VolumeError {
    pub fn disk(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Disk { doing, path: path.to_owned(), source: source.into() }
    }
}

/// A volume that could not be set up, with the text of its event.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
pub struct SetupError {
    pub volume: String,
    pub source: VolumeError,
}
