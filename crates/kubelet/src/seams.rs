//! The boundaries inside the node agent: the traits by which the pod workers use volumes and the
//! container and sandbox configurations, and by which the node's HTTP API uses the workers.
//!
//! Start at [`Volumes`] and [`ContainerConfigs`]. Nothing here decides anything; the traits exist
//! so that workers can be tested with recording fakes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::resources::PodLimits;

/// The volumes of a pod that are ready to be mounted into its containers, by volume name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountedVolumes {
    pub volumes: BTreeMap<String, MountedVolume>,
}

/// One volume on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedVolume {
    /// Where the volume's content is on the node; absolute.
    pub host_path: PathBuf,
    /// The volume may only be mounted read-only, whatever the container asks for.
    pub read_only: bool,
}

/// Why a volume of a pod is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct VolumeFailure {
    /// The volume's name in the pod.
    pub volume: String,
    /// The event's reason.
    pub reason: &'static str,
    /// The event's text, whole: `MountVolume.SetUp failed for volume "x" : configmap "y" not found`.
    pub message: String,
}

/// A pod that uses more of a volume than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverLimit {
    pub pod_uid: String,
    /// The text of its status and event.
    pub message: String,
}

/// What a claim's volume holds and has left, as a pod has it. What is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimFigures {
    pub pod_uid: String,
    /// The volume's name in the pod.
    pub volume: String,
    pub namespace: String,
    pub claim: String,
    pub figures: VolumeFigures,
}

/// What a file system holds and has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VolumeFigures {
    pub capacity_bytes: Option<u64>,
    pub available_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
    pub inodes: Option<u64>,
    pub inodes_free: Option<u64>,
    pub inodes_used: Option<u64>,
}

/// Brings a pod's volumes up and down.
#[async_trait]
pub trait Volumes: Send + Sync {
    /// Makes every volume of the pod ready. Idempotent: called again after a restart of the agent
    /// it finds what is there. Keeps live volumes (configMap, secret, …) up to date by itself until
    /// [`Volumes::teardown`]. Dropping the future leaves a state that a later call repairs.
    ///
    /// # Errors
    /// One error for every volume that is not ready; the caller tries again later.
    async fn setup(&self, pod: &Arc<Pod>) -> Result<MountedVolumes, Vec<VolumeFailure>>;

    /// Tells about a new version of a pod that is set up (labels and annotations can be projected).
    async fn pod_changed(&self, pod: &Arc<Pod>);

    /// Unmounts and deletes everything of the pod with this uid. Idempotent.
    ///
    /// # Errors
    /// The first volume that could not be taken down; the caller tries again later.
    async fn teardown(&self, pod_uid: &str) -> Result<(), VolumeFailure>;

    /// The uids of pods that have something on this node's disk; asked once at start, to clean up
    /// after pods that were deleted while the agent was away.
    async fn known_pods(&self) -> Vec<String>;

    /// Says that the pod ends: what its volumes still wait for is not waited for any more.
    fn pod_ends(&self, _pod_uid: &str) {}

    /// What the volumes of claims hold, not older than a minute.
    async fn claim_figures(&self) -> Arc<Vec<ClaimFigures>> {
        Arc::default()
    }

    /// Waits for the next pod over a volume's limit; each is told once. Cancellation safe.
    async fn next_over_limit(&self) -> OverLimit {
        std::future::pending().await
    }
}

/// Why a container's or sandbox's configuration could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// The waiting reason: `CreateContainerConfigError`, or a narrower one upstream has.
    pub reason: &'static str,
    pub message: String,
}

impl ConfigError {
    /// An error with the reason `CreateContainerConfigError`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { reason: "CreateContainerConfigError", message: message.into() }
    }
}

/// What is known of the image a container will run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedImage {
    /// What the runtime calls the image (`sha256:…`); goes into `ContainerConfig.image`.
    pub image_ref: String,
    /// The numeric user the image runs as; `None` where it names one or is silent.
    pub uid: Option<i64>,
    /// The user's name, empty where the image has a number or nothing.
    pub username: String,
    /// What the runtime calls the images that the container has as volumes, by volume name.
    pub volumes: BTreeMap<String, String>,
}

/// The devices of the pods' ResourceClaims.
#[async_trait]
pub trait Devices: Send + Sync {
    /// Has drivers prepare the claims of a pod that is about to start. Idempotent.
    ///
    /// # Errors
    /// Why not; the caller tries again later.
    async fn prepare(&self, pod: &Pod) -> Result<(), String>;

    /// The devices of a container whose pod is prepared, by the names that the runtime knows them by.
    ///
    /// # Errors
    /// When the pod's claims are not known.
    fn names(&self, pod: &Pod, container: &Container) -> Result<Vec<String>, String>;

    /// Has drivers take back what no other pod uses, once no container of the pod runs. Idempotent.
    ///
    /// # Errors
    /// Why not; the caller tries again later.
    async fn unprepare(&self, pod_uid: &str) -> Result<(), String>;

    /// The uids of pods whose claims are prepared, or may be.
    fn known_pods(&self) -> BTreeSet<String>;
}

/// Everything a container's configuration is made of.
#[derive(Debug, Clone, Copy)]
pub struct ContainerRequest<'a> {
    pub pod: &'a Arc<Pod>,
    /// The container, an init container, or an ephemeral container written as one.
    pub container: &'a Container,
    /// How often this container was started before in this pod: the CRI attempt, the restart count
    /// and the number of its log file.
    pub attempt: u32,
    /// The pod's addresses, primary first; the node's for pods in the host's network.
    pub pod_ips: &'a [String],
    pub volumes: &'a MountedVolumes,
    pub image: &'a ResolvedImage,
    /// The id of the container whose processes an ephemeral container is to see.
    pub target: Option<&'a str>,
}

/// Makes the CRI configuration of containers.
#[async_trait]
pub trait ContainerConfigs: Send + Sync {
    /// The configuration, with upstream's labels and annotations; makes the log directory and the
    /// files that are mounted (`/etc/hosts`, the termination log).
    ///
    /// # Errors
    /// What the pod refers to is missing or not allowed; the caller tries again later.
    async fn build(&self, request: ContainerRequest<'_>) -> Result<cri::v1::ContainerConfig, ConfigError>;

    /// Notes that a container has started, whose log collectors are to find from now on.
    async fn started(&self, pod: &Pod, container: &str, attempt: u32, id: &str);

    /// The limits of a container as it is to be now.
    fn resources(&self, pod: &Pod, container: &Container) -> cri::v1::LinuxContainerResources;

    /// The message an ended container left, from its termination log or, where its policy says so
    /// and it failed, from the end of its log.
    async fn termination_message(&self, status: &cri::v1::ContainerStatus) -> Option<String>;
}

/// Makes the CRI configuration of pod sandboxes and owns what surrounds them (pod cgroup, log folder).
#[async_trait]
pub trait SandboxConfigs: Send + Sync {
    /// # Errors
    /// The pod's settings cannot be met on this node.
    async fn build(&self, pod: &Arc<Pod>, attempt: u32) -> Result<cri::v1::PodSandboxConfig, ConfigError>;

    /// Changes what the pod as a whole may use; a 0 leaves a limit as it is.
    ///
    /// # Errors
    /// When the kernel refuses.
    async fn limit(&self, pod: &Arc<Pod>, limits: PodLimits) -> Result<(), ConfigError>;

    /// The memory that the pod as a whole uses, in bytes; `None` where its cgroup is not there.
    async fn memory_usage(&self, pod: &Arc<Pod>) -> Option<u64>;

    /// Removes what [`SandboxConfigs::build`] made outside the runtime, the pod cgroup above all, once no
    /// container or sandbox of the pod is left. Idempotent. `remove_logs` also deletes its log folder.
    async fn release(&self, pod_uid: &str, remove_logs: bool);

    /// The uids of pods that have a log folder.
    async fn logged_pods(&self) -> Vec<String>;
}

/// A container of a pod on this node, for logs, exec and attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerHandle {
    /// The runtime's id, without `scheme://`.
    pub id: String,
    pub running: bool,
    /// Where its log is; absolute.
    pub log_path: PathBuf,
}

/// Why a pod or container cannot be addressed; the text is upstream's answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The node has no such pod.
    #[error("pod {0:?} does not exist")]
    NoPod(String),
    /// The pod has no such container.
    #[error("container {container:?} is not valid for pod {pod:?}")]
    NoContainer { pod: String, container: String },
    /// The container exists in the pod but has not been made yet.
    #[error("container {container:?} in pod {pod:?} is waiting to start: {reason}")]
    Waiting { pod: String, container: String, reason: String },
    /// No earlier attempt of the container is left.
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPrevious { pod: String, container: String },
    /// The pod's sandbox is not there (yet).
    #[error("sandbox of pod {0:?} not found")]
    NoSandbox(String),
    /// The pod shows a part of the node's own process: there is no container.
    #[error("container {container:?} is a part of the process of {program}, and its log {log}")]
    InProcess { container: String, program: String, log: String },
}

/// What the node's HTTP API may know of the pods here.
pub trait PodDirectory: Send + Sync {
    /// Every pod on this node, with the status last computed here.
    fn pods(&self) -> Vec<Arc<Pod>>;

    /// The newest attempt of a container, or with `previous` the one before it.
    ///
    /// # Errors
    /// See [`LookupError`].
    fn container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
    ) -> Result<ContainerHandle, LookupError>;

    /// The id of the pod's ready sandbox, for port-forward.
    ///
    /// # Errors
    /// See [`LookupError`].
    fn sandbox(&self, namespace: &str, pod: &str) -> Result<String, LookupError>;
}
