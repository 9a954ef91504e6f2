//! Why a volume cannot be provided.

use std::borrow::Cow;
use std::fmt;
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
    #[error("{why}")]
    Driver { step: Step, volume: String, why: String },
    #[error("the volume is not attached to this node: context deadline exceeded")]
    NotAttached,
    #[error("the pod is being removed")]
    PodLeaves,
    #[error("UnmountVolume.TearDown failed for volume \"{volume}\" : {why}")]
    Release { volume: String, why: String },
    #[error("{} is still mounted though its driver says that it is not", .0.display())]
    StillMounted(PathBuf),
}

/// The steps of a driver's volume, as upstream's events call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    WaitForAttach,
    MountDevice,
    SetUp,
    /// As `MountDevice`, of a volume that is a device.
    SetUpDevice,
    /// As `SetUp`, of a volume that is a device.
    MapPodDevice,
    /// A volume that has grown is made to fill its new room before a pod has it.
    Expand,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::WaitForAttach => "MountVolume.WaitForAttach failed",
            Self::MountDevice => "MountVolume.MountDevice failed",
            Self::SetUp => "MountVolume.SetUp failed",
            Self::SetUpDevice => "MapVolume.SetUpDevice failed",
            Self::MapPodDevice => "MapVolume.MapPodDevice failed",
            Self::Expand => "MountVolume.Setup failed while expanding volume",
        }
    }
}

impl VolumeError {
    pub fn driver(step: Step, volume: &str, why: String) -> Self {
        Self::Driver { step, volume: volume.to_owned(), why }
    }

    pub fn disk(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Disk { doing, path: path.to_owned(), source: source.into() }
    }
}

/// A volume that could not be set up; its text is that of the event.
#[derive(Debug, thiserror::Error)]
pub struct SetupError {
    pub volume: String,
    pub source: VolumeError,
}

impl SetupError {
    /// The reason of the event.
    pub fn reason(&self) -> &'static str {
        match &self.source {
            VolumeError::Driver { step: Step::SetUpDevice | Step::MapPodDevice, .. } => "FailedMapVolume",
            _ => "FailedMount",
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.volume;
        match &self.source {
            VolumeError::Driver { step, volume, why } => {
                write!(f, "{} for volume \"{volume}\" : {why}", step.words())
            }
            VolumeError::NotAttached => write!(
                f,
                "Unable to attach or mount volumes: unmounted volumes=[{name}], unattached volumes=[{name}], \
                 failed to process volumes=[]: context deadline exceeded"
            ),
            other => write!(f, "MountVolume.SetUp failed for volume \"{name}\" : {other}"),
        }
    }
}
