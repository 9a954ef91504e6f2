//! The actions that the planner can request, and what a plan contains besides.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;

use super::action_key::ActionKey;
use super::observed::{CrashBackoff, ProbeKind};
use crate::events::Severity;
use crate::resources::PodLimits;

/// One thing to do. Actions of one plan may run at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    MountVolumes,
    /// Makes a new sandbox, after the ones it replaces are taken down.
    CreateSandbox {
        attempt: u32,
        replaces: Vec<String>,
    },
    /// Takes the sandbox's network down and kills what still runs in it.
    StopSandbox {
        id: String,
    },
    RemoveSandbox {
        id: String,
    },
    /// Finds or pulls the image of a container for its next attempt.
    EnsureImage {
        container: String,
        attempt: u32,
    },
    StartContainer {
        container: String,
        sandbox_id: String,
        attempt: u32,
        backoff: Option<CrashBackoff>,
    },
    /// Runs the preStop hook, asks the process to end, and kills it after `grace_s` seconds.
    StopContainer {
        container: String,
        id: String,
        grace_s: i64,
        message: String,
    },
    /// As stopping; the container is made anew then, however it ends.
    RestartContainer {
        container: String,
        id: String,
        grace_s: i64,
        message: String,
        /// Of the specification that asks for it.
        generation: Option<i64>,
    },
    /// Gives running containers, and the pod as a whole, other resources.
    Resize {
        from: PodLimits,
        to: PodLimits,
        /// What the pod is granted as a whole, as text.
        whole: String,
        containers: Vec<ResizedContainer>,
        /// Of the specification that asks for them.
        generation: Option<i64>,
    },
    RemoveContainer {
        id: String,
    },
    UnmountVolumes,
    /// Gives back what surrounds the pod: cgroup, log folder.
    Release {
        remove_logs: bool,
    },
    /// Writes the final status and deletes the API object.
    DeleteObject,
}

impl Action {
    pub fn key(&self) -> ActionKey {
        match self {
            Self::MountVolumes | Self::UnmountVolumes => ActionKey::Volumes,
            Self::CreateSandbox { .. } => ActionKey::NewSandbox,
            Self::StopSandbox { id } | Self::RemoveSandbox { id } => ActionKey::Sandbox(id.clone()),
            Self::EnsureImage { container, .. } => ActionKey::Image(container.clone()),
            Self::StartContainer { container, .. } => ActionKey::Start(container.clone()),
            Self::StopContainer { id, .. } | Self::RestartContainer { id, .. } => ActionKey::Stop(id.clone()),
            Self::Resize { .. } => ActionKey::Resize,
            Self::RemoveContainer { id } => ActionKey::Remove(id.clone()),
            Self::Release { .. } => ActionKey::Release,
            Self::DeleteObject => ActionKey::Object,
        }
    }
}

/// A container that gets other resources while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizedContainer {
    pub container: String,
    pub id: String,
    /// What it has and what it gets, as text.
    pub from: String,
    pub to: String,
}

/// An event to record once, when its key first appears in a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    pub key: String,
    /// The container it is about; `None` for the pod.
    pub container: Option<String>,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Notice {
    pub fn severity(&self) -> Severity {
        if self.warning { Severity::Warning } else { Severity::Normal }
    }
}

/// A probe that should be running.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeTarget {
    pub container: String,
    pub container_id: String,
    pub kind: ProbeKind,
}

/// The actions to take, the status and events to report, and when to plan again.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub status: PodStatus,
    pub notices: Vec<Notice>,
    pub probes: Vec<ProbeTarget>,
    /// The next moment at which time alone changes the plan.
    pub wake: Option<Timestamp>,
    /// Why, in words for the log.
    pub reasons: Vec<String>,
    /// The pod's processes are to end.
    pub ending: bool,
    /// They have ended, and the pod holds neither room nor ports any more.
    pub ended: bool,
    /// Nothing is left of the pod: its worker can end.
    pub done: bool,
}

impl Plan {
    /// Looks again at `at`, unless something earlier is planned.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |known| known.min(at)));
    }

    pub fn because(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }
}
