//! One sandbox as the engine holds it.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock};

use tokio::sync::SetOnce;

use cri::v1::{NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata};

use crate::records::{Phase, Record, SandboxRecord};
use crate::shim_link::{ShimError, ShimLink};

/// A pod's shared half: namespaces, network, files, and the shim that holds them.
pub struct Sandbox {
    pub id: String,
    pub dir: PathBuf,
    /// What never changes of it is read from here without asking for `state`.
    pub config: PodSandboxConfig,
    state: Mutex<SandboxState>,
    link: OnceLock<ShimLink>,
    /// Set once the shim has told how things stand, or is known to be dead.
    known: SetOnce<()>,
    /// One operation at a time.
    pub gate: tokio::sync::Mutex<()>,
}

/// What changes.
pub struct SandboxState {
    pub record: SandboxRecord,
    /// None when the pause process doesn't run.
    pub pause_pid: Option<i32>,
}

impl Sandbox {
    pub fn new(dir: PathBuf, record: SandboxRecord) -> Self {
        Self {
            id: record.id.clone(),
            dir,
            config: record.config.clone(),
            state: Mutex::new(SandboxState { record, pause_pid: None }),
            link: OnceLock::new(),
            known: SetOnce::new(),
            gate: tokio::sync::Mutex::new(()),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, SandboxState> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Changes the record, in memory and on disk.
    pub fn update(&self, change: impl FnOnce(&mut SandboxRecord)) -> io::Result<()> {
        let record = {
            let mut state = self.state();
            change(&mut state.record);
            state.record.clone()
        };
        record.save(&self.dir)
    }

    /// One whose shim has not told yet counts as ready: what ran is taken to run.
    pub fn is_ready(&self) -> bool {
        let known = self.known.initialized();
        let state = self.state();
        state.record.phase == Phase::Running && (state.pause_pid.is_some() || !known)
    }

    /// Notes what the shim told of the pause process; none where it is over.
    pub fn set_pause(&self, pid: Option<i32>) {
        self.state().pause_pid = pid;
        // Told once; what changes afterwards changes the state.
        let _ = self.known.set(());
    }

    /// Waits until it is known how things stand: a shim that is busy tells a new server when it has finished.
    pub async fn known(&self) {
        self.known.wait().await;
    }

    pub fn set_link(&self, link: ShimLink) {
        // Set once: a sandbox has one shim in its life.
        let _ = self.link.set(link);
    }

    pub fn link(&self) -> Result<&ShimLink, ShimError> {
        self.link.get().ok_or(ShimError::Gone)
    }

    /// Where its network namespace is pinned.
    pub fn netns(&self) -> PathBuf {
        self.dir.join("netns")
    }

    pub fn cni_record(&self) -> PathBuf {
        self.dir.join("cni.json")
    }

    pub fn shm(&self) -> PathBuf {
        self.dir.join("shm")
    }

    pub fn metadata(&self) -> PodSandboxMetadata {
        self.config.metadata.clone().unwrap_or_default()
    }

    pub fn namespaces(&self) -> NamespaceOption {
        let security = self.config.linux.as_ref().and_then(|l| l.security_context.as_ref());
        security.and_then(|s| s.namespace_options.clone()).unwrap_or_default()
    }

    pub fn on_host_network(&self) -> bool {
        self.namespaces().network == NamespaceMode::Node as i32
    }

    pub fn on_host_ipc(&self) -> bool {
        self.namespaces().ipc == NamespaceMode::Node as i32
    }

    /// The host name its processes see.
    pub fn hostname(&self) -> String {
        if !self.config.hostname.is_empty() && !self.on_host_network() {
            return self.config.hostname.clone();
        }
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// The name that may exist once.
    pub fn unique_name(&self) -> String {
        let m = self.metadata();
        format!("{}_{}_{}_{}", m.name, m.namespace, m.uid, m.attempt)
    }

    /// The cgroup of the pod, below which its containers' are.
    pub fn cgroup_parent<'a>(&'a self, default: &'a str) -> &'a str {
        let wanted = self.config.linux.as_ref().map_or("", |l| l.cgroup_parent.as_str());
        if wanted.is_empty() { default } else { wanted }
    }
}
