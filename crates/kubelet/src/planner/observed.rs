//! The observed state of a pod on the node: the runtime's state, and the outcomes of actions that
//! the worker remembers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::action_key::ActionKey;
use crate::cri_view::{PodRuntime, Record};
use crate::resources::PodLimits;
use crate::seams::ResolvedImage;

/// Which probe of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    /// The word upstream puts at the start of probe events.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What a probe found, once its threshold was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Success,
    Failure,
}

/// An action that failed, and when it may be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// A waiting reason for containers (`ErrImagePull`), empty elsewhere.
    pub reason: String,
    pub message: String,
    /// Failures in a row.
    pub failures: u32,
    pub at: Timestamp,
    pub retry_at: Timestamp,
}

/// How long a container that keeps ending must wait before its next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashBackoff {
    pub delay: SignedDuration,
    pub updated_at: Timestamp,
}

/// Everything known about one pod.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub runtime: PodRuntime,
    /// Every volume is in place.
    pub volumes_ready: bool,
    /// The volumes were taken down after the pod's end.
    pub volumes_gone: bool,
    /// The pod's cgroup and log folder were given back.
    pub released: bool,
    /// The API object is deleted.
    pub api_gone: bool,
    pub images: BTreeMap<String, (u32, ResolvedImage)>,
    pub crashes: BTreeMap<String, CrashBackoff>,
    pub setbacks: BTreeMap<ActionKey, Setback>,
    pub in_flight: BTreeSet<ActionKey>,
    /// The grace, in seconds, under which containers (by id) are being stopped right now.
    pub stopping: BTreeMap<String, i64>,
    /// What containers (by id) got of the machine, as text, where that is not what they were made with.
    pub resized: BTreeMap<String, String>,
    /// What the pod was granted as a whole, as text, where that is not what its sandbox was made with.
    pub whole: Option<String>,
    /// What the pod as a whole may use, once that was changed.
    pub pod_limits: Option<PodLimits>,
    /// The generation of the specification that was last put into effect on running containers.
    pub resized_to: Option<i64>,
    /// Containers (by id) that are stopped to be made anew, however they end.
    pub to_restart: BTreeSet<String>,
    /// The newest attempts of containers of the same pod when it was here before, a moment ago.
    pub former: BTreeMap<String, u32>,
    /// The newest round of the pod in which a container was to start.
    pub begun_round: u32,
    /// By container id.
    pub probes: BTreeMap<(String, ProbeKind), Verdict>,
    /// When the pod's processes were first to end; its grace counts from then.
    pub ending_since: Option<Timestamp>,
    /// When the agent first took the pod on.
    pub started_at: Option<Timestamp>,
}

impl Observed {
    pub fn verdict(&self, id: &str, kind: ProbeKind) -> Option<Verdict> {
        self.probes.get(&(id.to_owned(), kind)).copied()
    }

    /// What a container has of the machine, as text; empty where another agent made it.
    pub fn resources<'a>(&'a self, record: &'a Record) -> &'a str {
        self.resized.get(&record.id).unwrap_or(&record.resources)
    }

    /// What the pod has as a whole, as text; empty where another agent made its sandbox, or none is made yet.
    pub fn whole(&self) -> &str {
        let made_with = || self.runtime.sandboxes.first().map_or("", |sandbox| sandbox.resources.as_str());
        self.whole.as_deref().unwrap_or_else(made_with)
    }

    pub fn is_stopping(&self, record: &Record) -> bool {
        self.stopping.contains_key(&record.id)
    }
}
