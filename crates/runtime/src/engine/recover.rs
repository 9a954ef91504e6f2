//! After a restart, and after a shim has died: finding running containers, ending and cleaning up those that can't go
//! on.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cri::v1::ContainerEventType;
use rustix::process::{Pid, PidfdFlags};

use super::container::{Container, Life};
use super::sandboxes::remove_tree;
use super::{Engine, EngineError, Sandbox};
use crate::records::{ContainerRecord, Phase, Record, SandboxRecord};
use crate::shim_link::{ShimError, ShimLink};
use shim::files::{read_json, write_json};
use shim::protocol::{CONTAINERS_DIR, EXIT_FILE, Exit, Op, PID_FILE, PodState, Reply, STARTED_FILE};

/// Exit code of what was killed because nobody was left to watch it.
const KILLED_CODE: i32 = 128 + libc::SIGKILL;
/// How long killed processes may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Takes over what an earlier server left: running pods are adopted, half-made ones removed.
    pub async fn recover(self: &Arc<Self>) -> io::Result<()> {
        for entry in fs::read_dir(self.config.sandboxes_dir())? {
            let dir = entry?.path();
            let known = SandboxRecord::load(&dir);
            match known {
                Ok(record) => self.recover_sandbox(&dir, record).await,
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "not a sandbox; it is removed");
                    self.end_shim(&dir).await;
                    log_failure(&dir, remove_tree(&dir));
                }
            }
        }
        self.remove_forgotten_layers().await;
        Ok(())
    }

    async fn recover_sandbox(self: &Arc<Self>, dir: &Path, record: SandboxRecord) {
        let phase = record.phase;
        let sandbox = Arc::new(Sandbox::new(dir.to_owned(), record));
        let link = match phase {
            Phase::Stopped => None,
            Phase::Creating | Phase::Running => {
                ShimLink::connect(dir, &sandbox.id, &self.deps.supervisor, &self.notices).ok()
            }
        };
        if let Some(link) = &link {
            sandbox.set_link(link.clone());
        }
        if phase == Phase::Creating {
            self.tear_down(&sandbox).await;
            self.end_shim(dir).await;
            log_failure(dir, remove_tree(dir));
            return;
        }
        let state = match &link {
            Some(link) => ask_state(link).await.ok(),
            None => None,
        };
        if let Err(error) = self.reserve_name(&sandbox.unique_name(), &sandbox.id) {
            tracing::warn!(sandbox = %sandbox.id, %error, "two sandboxes of one name");
        }
        self.registry_mut().sandboxes.insert(sandbox.id.clone(), Arc::clone(&sandbox));
        self.recover_containers(&sandbox, state.as_ref()).await;
        match state {
            Some(state) => sandbox.state().pause_pid = state.pause_pid,
            None if phase == Phase::Running => self.shim_gone(&sandbox.id).await,
            None => {}
        }
    }

    async fn recover_containers(&self, sandbox: &Arc<Sandbox>, state: Option<&PodState>) {
        let Ok(entries) = fs::read_dir(sandbox.dir.join(CONTAINERS_DIR)) else { return };
        for dir in entries.filter_map(|e| Some(e.ok()?.path())) {
            let Ok(record) = ContainerRecord::load(&dir) else {
                // The server was killed while it made this one.
                log_failure(&dir, remove_tree(&dir));
                continue;
            };
            let reported = state.and_then(|s| s.containers.iter().find(|c| c.container == record.id));
            let life = Life {
                started: reported.map(|r| r.started).or_else(|| read_json(&dir.join(STARTED_FILE)).ok()),
                exit: reported.and_then(|r| r.exit).or_else(|| read_json(&dir.join(EXIT_FILE)).ok()),
            };
            let container = Arc::new(Container::new(Arc::clone(sandbox), dir, record, life));
            if let Err(error) = self.reserve_name(&container.unique_name(), &container.id) {
                tracing::warn!(container = %container.id, %error, "two containers of one name");
            }
            self.registry_mut().containers.insert(container.id.clone(), container);
        }
    }

    /// Removes every sandbox and the cgroups of the runtime, for good.
    pub async fn remove_everything(&self) -> Result<(), EngineError> {
        let ids: Vec<String> = self.registry().sandboxes.keys().cloned().collect();
        for id in ids {
            self.remove_sandbox(&id).await?;
        }
        self.hierarchy.remove(&self.config.shim_cgroup())?;
        self.hierarchy.remove(&self.config.cgroup_parent)?;
        Ok(())
    }

    async fn remove_forgotten_layers(&self) {
        let layers = match self.deps.rootfs.containers().await {
            Ok(layers) => layers,
            Err(error) => {
                tracing::warn!(%error, "writable layers cannot be listed");
                return;
            }
        };
        let known: HashSet<String> = self.registry().containers.keys().cloned().collect();
        let volumes = fs::read_dir(self.config.volumes_dir("")).into_iter().flatten().flatten();
        for dir in volumes.filter(|e| !known.contains(e.file_name().to_string_lossy().as_ref())) {
            log_failure(&dir.path(), remove_tree(&dir.path()));
        }
        for id in layers.into_iter().filter(|id| !known.contains(id)) {
            if let Err(error) = self.deps.rootfs.remove(&id).await {
                tracing::warn!(container = %id, %error, "a forgotten writable layer cannot be removed");
            }
        }
    }

    /// The pause process has ended: the sandbox isn't ready any more, whatever still runs in it.
    pub(super) fn pause_ended(&self, sandbox_id: &str) {
        let Ok(sandbox) = self.sandbox(sandbox_id) else { return };
        sandbox.state().pause_pid = None;
        self.announce(ContainerEventType::ContainerStoppedEvent, &sandbox.id, &sandbox);
    }

    /// A shim has ended. Unless it was told to, its containers can't be watched any more and are killed.
    pub(super) async fn shim_gone(&self, sandbox_id: &str) {
        let Ok(sandbox) = self.sandbox(sandbox_id) else { return };
        let was_ready = sandbox.is_ready();
        sandbox.state().pause_pid = None;
        for container in self.containers_of(&sandbox) {
            let life = container.life();
            if life.exit.is_some() || (life.started.is_none() && !container.dir.join(STARTED_FILE).exists()) {
                continue;
            }
            let exit = match read_json::<Exit>(&container.dir.join(EXIT_FILE)) {
                Ok(exit) => exit,
                Err(_) => self.end_unwatched(&container).await,
            };
            let started = read_json(&container.dir.join(STARTED_FILE)).ok();
            self.container_ended(&container, started, exit);
        }
        if was_ready {
            tracing::warn!(sandbox = %sandbox.id, "the shim of a pod has died; the pod is over");
            self.announce(ContainerEventType::ContainerStoppedEvent, &sandbox.id, &sandbox);
        }
    }

    /// Kills what runs of a container that has no shim any more.
    pub(super) async fn end_unwatched(&self, container: &Container) -> Exit {
        let cgroup = container.record().cgroup.clone();
        let oom_killed = self.hierarchy.oom_kills(&cgroup) > 0;
        let processes = self.hierarchy.processes(&cgroup);
        self.hierarchy.kill(&cgroup);
        wait_gone(&processes).await;
        // What can't be removed yet is removed with the container.
        let _ = self.hierarchy.remove(&cgroup);
        let exit = Exit { code: KILLED_CODE, oom_killed, at_ns: self.now_ns() };
        log_failure(&container.dir, write_json(&container.dir.join(EXIT_FILE), &exit));
        exit
    }

    /// Ends a shim that is known by its directory alone.
    async fn end_shim(&self, dir: &Path) {
        let id = dir.file_name().unwrap_or_default().to_string_lossy();
        if let Ok(link) = ShimLink::connect(dir, &id, &self.deps.supervisor, &self.notices) {
            // One that is ending already doesn't answer.
            let _ = link.request(Op::Shutdown, &[]).await;
        }
        let pid = fs::read_to_string(dir.join(PID_FILE)).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid {
            wait_gone(&[pid]).await;
        }
    }
}

async fn ask_state(link: &ShimLink) -> Result<PodState, ShimError> {
    match link.request(Op::State, &[]).await? {
        (Reply::State(state), _) => Ok(state),
        _ => Err(ShimError::Stuck),
    }
}

/// Waits until these processes have ended, for as long as that may take at most.
async fn wait_gone(pids: &[i32]) {
    let deadline = tokio::time::Instant::now() + KILL_PATIENCE;
    for pid in pids.iter().filter_map(|p| Pid::from_raw(*p)) {
        // Not there any more is what is waited for.
        let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) else { continue };
        let ended = async {
            let handle = crate::readiness::watch(handle)?;
            handle.readable().await.map(drop)
        };
        if tokio::time::timeout_at(deadline, ended).await.is_err() {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), "a process does not end");
        }
    }
}

fn log_failure(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(path = %path.display(), %error, "cleaning up failed");
    }
}
