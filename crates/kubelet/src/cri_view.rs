//! The runtime's state of one pod, as plain values: sandboxes and containers of every attempt.
//!
//! The planner sees only this, never a CRI message. This module converts CRI messages; the calls
//! that fetch the messages are in [`crate::cri_calls`].

use std::collections::BTreeMap;

use cri::v1;
use jiff::Timestamp;

/// Labels by which containers and sandboxes are found again (upstream
/// `pkg/kubelet/types/labels.go`).
pub const LABEL_POD_UID: &str = "io.kubernetes.pod.uid";
pub const LABEL_POD_NAME: &str = "io.kubernetes.pod.name";
pub const LABEL_POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const LABEL_CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// The annotation that tells whether a running container still matches its specification.
pub const ANNOTATION_CONTAINER_HASH: &str = "io.kubernetes.container.hash";
/// The annotation that tells what a container was made with of the machine, where its pod asks for something
/// else since.
pub const ANNOTATION_CONTAINER_RESOURCES: &str = "io.kubernetes.container.resources";

/// The annotation that tells in which round of its pod a container was made: all containers of a pod that restart
/// together begin another one.
pub const ANNOTATION_CONTAINER_ROUND: &str = "knarr.io/container-round";

/// The resources of the pod as a whole that its sandbox was made with.
pub const ANNOTATION_POD_RESOURCES: &str = "io.kubernetes.pod.resources";

/// One sandbox of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    pub id: String,
    pub attempt: u32,
    pub created_at: Timestamp,
    pub ready: bool,
    /// The pod's addresses, primary first; empty for the host's network.
    pub ips: Vec<String>,
    /// See [`ANNOTATION_POD_RESOURCES`]; empty where another agent made the sandbox.
    pub resources: String,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, or what the runtime says.
    pub reason: String,
    pub message: String,
    pub finished_at: Timestamp,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    Created,
    Running,
    Exited(Exit),
    Unknown,
}

/// One attempt of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: String,
    pub sandbox_id: String,
    pub name: String,
    /// How often the container was started before; the restart count.
    pub attempt: u32,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub run: Run,
    pub image: String,
    pub image_id: String,
    /// See [`ANNOTATION_CONTAINER_HASH`]; empty where another agent made the container.
    pub hash: String,
    /// See [`ANNOTATION_CONTAINER_RESOURCES`]; empty where another agent made the container.
    pub resources: String,
    /// See [`ANNOTATION_CONTAINER_ROUND`]; 0 where nothing is said.
    pub round: u32,
    pub log_path: String,
    /// Whom the first process runs as; `None` where the runtime does not tell.
    pub user: Option<User>,
}

/// Whom a process runs as, by numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: i64,
    pub gid: i64,
    pub supplemental_groups: Vec<i64>,
}

impl Record {
    pub fn is_running(&self) -> bool {
        self.run == Run::Running
    }

    pub fn exit(&self) -> Option<&Exit> {
        match &self.run {
            Run::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}

/// Everything the runtime holds for one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodRuntime {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first.
    pub containers: Vec<Record>,
    /// The newest attempt known of each container, also where its record is gone: while a pod's containers are removed,
    /// an older record must not be taken for the newest one.
    pub newest: BTreeMap<String, u32>,
}

impl PodRuntime {
    /// Puts sandboxes and containers in their order: newest first.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created_at)));
        self.containers.sort_by_key(|c| std::cmp::Reverse((c.attempt, c.created_at)));
    }

    /// Notes that attempts up to this one were made of the container `name`.
    pub fn know_attempt(&mut self, name: &str, attempt: u32) {
        let newest = self.newest.entry(name.to_owned()).or_default();
        *newest = attempt.max(*newest);
    }

    /// Takes over which attempts an earlier reading knew of, and adds its own.
    pub fn know_attempts(&mut self, earlier: &Self) {
        self.newest.clone_from(&earlier.newest);
        let seen: Vec<(String, u32)> = self.containers.iter().map(|c| (c.name.clone(), c.attempt)).collect();
        for (name, attempt) in seen {
            self.know_attempt(&name, attempt);
        }
    }

    /// The newest attempt of the container `name`, unless its record is gone.
    pub fn latest(&self, name: &str) -> Option<&Record> {
        self.containers.iter().find(|c| c.name == name && self.is_newest(c))
    }

    /// The newest attempt of the container `name`, if it was made in this sandbox.
    pub fn latest_in(&self, name: &str, sandbox_id: &str) -> Option<&Record> {
        self.containers.iter().find(|c| c.name == name && c.sandbox_id == sandbox_id && self.is_newest(c))
    }

    fn is_newest(&self, record: &Record) -> bool {
        self.newest.get(&record.name).is_none_or(|newest| record.attempt >= *newest)
    }

    /// The attempt before `record`.
    pub fn before(&self, record: &Record) -> Option<&Record> {
        self.containers.iter().find(|c| c.name == record.name && c.attempt < record.attempt)
    }

    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}

/// A CRI time (nanoseconds since 1970), `None` where it was never set.
fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()).flatten()
}

/// A sandbox's status as a plain value.
pub fn sandbox(status: &v1::PodSandboxStatus) -> Sandbox {
    let mut ips = Vec::new();
    if let Some(network) = &status.network
        && !network.ip.is_empty()
    {
        ips.push(network.ip.clone());
        ips.extend(network.additional_ips.iter().map(|ip| ip.ip.clone()));
    }
    Sandbox {
        id: status.id.clone(),
        attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
        created_at: time(status.created_at).unwrap_or(Timestamp::UNIX_EPOCH),
        ready: status.state() == v1::PodSandboxState::SandboxReady,
        ips,
        resources: status.annotations.get(ANNOTATION_POD_RESOURCES).cloned().unwrap_or_default(),
    }
}

/// A container's status as a plain value. `message` is what the container left as its last words;
/// where it left nothing the runtime's own message is used.
pub fn container(status: &v1::ContainerStatus, sandbox_id: &str, message: Option<String>) -> Record {
    let created_at = time(status.created_at).unwrap_or(Timestamp::UNIX_EPOCH);
    let started_at = time(status.started_at);
    let run = match status.state() {
        v1::ContainerState::ContainerCreated => Run::Created,
        v1::ContainerState::ContainerRunning => Run::Running,
        v1::ContainerState::ContainerUnknown => Run::Unknown,
        v1::ContainerState::ContainerExited => Run::Exited(Exit {
            code: status.exit_code,
            reason: exit_reason(&status.reason, status.exit_code),
            message: message.unwrap_or_else(|| status.message.clone()),
            finished_at: time(status.finished_at).or(started_at).unwrap_or(created_at),
        }),
    };
    Record {
        id: status.id.clone(),
        sandbox_id: sandbox_id.to_owned(),
        name: status
            .labels
            .get(LABEL_CONTAINER_NAME)
            .cloned()
            .or_else(|| status.metadata.as_ref().map(|m| m.name.clone()))
            .unwrap_or_default(),
        attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
        created_at,
        started_at,
        run,
        image: image_name(status),
        image_id: if status.image_ref.is_empty() {
            status.image_id.clone()
        } else {
            status.image_ref.clone()
        },
        hash: status.annotations.get(ANNOTATION_CONTAINER_HASH).cloned().unwrap_or_default(),
        resources: status.annotations.get(ANNOTATION_CONTAINER_RESOURCES).cloned().unwrap_or_default(),
        round: round(status),
        log_path: status.log_path.clone(),
        user: status.user.as_ref().and_then(|u| u.linux.as_ref()).map(|user| User {
            uid: user.uid,
            gid: user.gid,
            supplemental_groups: user.supplemental_groups.clone(),
        }),
    }
}

fn round(status: &v1::ContainerStatus) -> u32 {
    let told = status.annotations.get(ANNOTATION_CONTAINER_ROUND);
    told.and_then(|round| round.parse().ok()).unwrap_or_default()
}

/// The image's name as the runtime tells it; as the pod has it where the runtime only knows a digest.
fn image_name(status: &v1::ContainerStatus) -> String {
    let Some(image) = &status.image else { return String::new() };
    if image.image.is_empty() || image.image.starts_with("sha256:") {
        image.user_specified_image.clone()
    } else {
        image.image.clone()
    }
}

fn exit_reason(reason: &str, code: i32) -> String {
    match (reason, code) {
        ("", 0) => "Completed".to_owned(),
        ("", _) => "Error".to_owned(),
        (given, _) => given.to_owned(),
    }
}
