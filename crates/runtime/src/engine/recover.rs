//! After a restart, and after a shim has died: finding running containers, ending and cleaning up those that can't go
//! on.
//!
//! Start at [`Engine::recover`]. All sandboxes are looked at side by side, and a server serves after a moment whatever
//! one of them does: what takes longer goes on as [`Remains`].

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri::v1::ContainerEventType;
use tokio::task::JoinSet;

use super::container::{Container, Life};
use super::image_mounts::owner;
use super::sandboxes::remove_tree;
use super::{Engine, EngineError, Sandbox};
use crate::records::{ContainerRecord, Phase, Record, SandboxRecord};
use crate::shim_link::{ShimError, ShimLink};
use shim::files::{read_json, write_json};
use shim::protocol::{CONTAINERS_DIR, EXIT_FILE, Exit, Op, PodState, Reply, STARTED_FILE};

/// Exit code of what was killed because nobody was left to watch it.
const KILLED_CODE: i32 = 128 + libc::SIGKILL;
/// How long a server waits for shims to tell how things stand, before it serves without that.
const TELL_PATIENCE: Duration = Duration::from_millis(500);
/// How long a shim may take to tell: one that makes a container is busy for a moment. Then it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What is still done after an engine has recovered.
pub struct Remains {
    tasks: JoinSet<()>,
}

impl Remains {
    /// Waits until nothing of what earlier servers left is to be ended or removed any more. Dropped, it stops where it
    /// stands; the next server goes on.
    pub async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Engine {
    /// Takes over what an earlier server left: running pods are adopted, half-made ones and processes that belong to
    /// none are ended and removed.
    pub async fn recover(self: &Arc<Self>) -> io::Result<Remains> {
        let mut adopted = JoinSet::new();
        let mut tasks = JoinSet::new();
        for entry in fs::read_dir(self.config.sandboxes_dir())? {
            let dir = entry?.path();
            let engine = Arc::clone(self);
            match SandboxRecord::load(&dir) {
                Ok(record) if record.phase == Phase::Creating => {
                    let sandbox = Arc::new(Sandbox::new(dir, record));
                    tasks.spawn(async move { engine.undo_half_made(&sandbox).await });
                }
                Ok(record) => {
                    let sandbox = self.adopt(dir, record);
                    adopted.spawn(async move { engine.settle(&sandbox).await });
                }
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "not a sandbox; it is removed");
                    tasks.spawn(async move { engine.remove_unknown(&dir).await });
                }
            }
        }
        let forgotten = self.forgotten_cgroups(&self.live());
        let layers = self.forgotten_layers().await;
        let engine = Arc::clone(self);
        tasks.spawn(async move {
            for cgroup in forgotten {
                tracing::warn!(cgroup, "ends processes that belong to no pod");
                engine.end_cgroup(&cgroup).await;
            }
            engine.remove_layers(layers).await;
        });
        let told = async { while adopted.join_next().await.is_some() {} };
        if tokio::time::timeout(TELL_PATIENCE, told).await.is_err() {
            tracing::warn!(pods = adopted.len(), "the shims of pods have not told yet how things stand");
            tasks.spawn(async move { while adopted.join_next().await.is_some() {} });
        }
        Ok(Remains { tasks })
    }

    /// Enters a sandbox and its containers as files tell of them, and connects to its shim.
    fn adopt(&self, dir: PathBuf, record: SandboxRecord) -> Arc<Sandbox> {
        let phase = record.phase;
        let sandbox = Arc::new(Sandbox::new(dir, record));
        if phase == Phase::Running {
            let link = ShimLink::connect(&sandbox.dir, &sandbox.id, &self.deps.supervisor, &self.notices);
            // None that serves is a dead one.
            if let Ok(link) = link {
                sandbox.set_link(link);
            }
        }
        if let Err(error) = self.reserve_name(&sandbox.unique_name(), &sandbox.id) {
            tracing::warn!(sandbox = %sandbox.id, %error, "two sandboxes of one name");
        }
        self.registry_mut().sandboxes.insert(sandbox.id.clone(), Arc::clone(&sandbox));
        self.adopt_containers(&sandbox);
        sandbox
    }

    /// Asks the shim of an adopted sandbox how things stand, and ends what has no shim.
    async fn settle(&self, sandbox: &Arc<Sandbox>) {
        if sandbox.state().record.phase == Phase::Stopped {
            return sandbox.set_pause(None);
        }
        let told = async { ask_state(sandbox.link()?).await };
        match tokio::time::timeout(STUCK_AFTER, told).await {
            Ok(Ok(state)) => self.take_in(sandbox, &state),
            Ok(Err(_)) => self.shim_gone(&sandbox.id).await,
            Err(_) => {
                tracing::warn!(sandbox = %sandbox.id, "the shim of a pod is stuck; the pod is ended");
                self.shim_gone(&sandbox.id).await;
            }
        }
    }

    /// What the shim tells stands over what files told.
    fn take_in(&self, sandbox: &Arc<Sandbox>, state: &PodState) {
        for told in &state.containers {
            let Ok(container) = self.container(&told.container) else { continue };
            if container.life().started.is_none() {
                container.set_started(told.started);
                self.announce(ContainerEventType::ContainerStartedEvent, &container.id, sandbox);
            }
            if let Some(exit) = told.exit {
                self.container_ended(&container, Some(told.started), exit);
            }
        }
        sandbox.set_pause(state.pause_pid);
        if state.pause_pid.is_none() {
            self.announce(ContainerEventType::ContainerStoppedEvent, &sandbox.id, sandbox);
        }
    }

    /// The ids of sandboxes whose shim serves, and of their containers.
    fn live(&self) -> BTreeSet<String> {
        let registry = self.registry();
        let serves = |sandbox: &Sandbox| sandbox.link().is_ok_and(|link| !link.is_closed());
        let sandboxes = registry.sandboxes.values().filter(|s| serves(s)).map(|s| s.id.clone());
        let containers = registry.containers.values().filter(|c| serves(&c.sandbox)).map(|c| c.id.clone());
        sandboxes.chain(containers).collect()
    }

    async fn undo_half_made(&self, sandbox: &Arc<Sandbox>) {
        self.end_shim(&sandbox.id, &sandbox.dir).await;
        self.tear_down(sandbox).await;
        log_failure(&sandbox.dir, remove_tree(&sandbox.dir));
    }

    async fn remove_unknown(&self, dir: &Path) {
        let id = dir.file_name().unwrap_or_default().to_string_lossy();
        self.end_shim(&id, dir).await;
        log_failure(dir, remove_tree(dir));
    }

    fn adopt_containers(&self, sandbox: &Arc<Sandbox>) {
        let Ok(entries) = fs::read_dir(sandbox.dir.join(CONTAINERS_DIR)) else { return };
        for dir in entries.filter_map(|e| Some(e.ok()?.path())) {
            let Ok(record) = ContainerRecord::load(&dir) else {
                // The server was killed while it made this one.
                log_failure(&dir, remove_tree(&dir));
                continue;
            };
            let life = Life {
                started: read_json(&dir.join(STARTED_FILE)).ok(),
                exit: read_json(&dir.join(EXIT_FILE)).ok(),
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
        self.hierarchy.remove_all(&self.config.shims_cgroup())?;
        self.hierarchy.remove(&self.config.cgroup_parent)?;
        Ok(())
    }

    /// Volumes and writable layers of containers that are no more.
    async fn forgotten_layers(&self) -> (Vec<PathBuf>, Vec<String>) {
        let known: HashSet<String> = self.registry().containers.keys().cloned().collect();
        let volumes = fs::read_dir(self.config.volumes_dir("")).into_iter().flatten().flatten();
        let volumes = volumes.filter(|e| !known.contains(e.file_name().to_string_lossy().as_ref()));
        let layers = match self.deps.rootfs.containers().await {
            Ok(layers) => layers.into_iter().filter(|id| !known.contains(owner(id))).collect(),
            Err(error) => {
                tracing::warn!(%error, "writable layers cannot be listed");
                Vec::new()
            }
        };
        (volumes.map(|entry| entry.path()).collect(), layers)
    }

    async fn remove_layers(&self, (volumes, layers): (Vec<PathBuf>, Vec<String>)) {
        for dir in volumes {
            log_failure(&dir, remove_tree(&dir));
        }
        for id in layers {
            if let Err(error) = self.deps.rootfs.remove(&id).await {
                tracing::warn!(container = %id, %error, "a forgotten writable layer cannot be removed");
            }
        }
    }

    /// The pause process has ended: the sandbox isn't ready any more, whatever still runs in it.
    pub(super) fn pause_ended(&self, sandbox_id: &str) {
        let Ok(sandbox) = self.sandbox(sandbox_id) else { return };
        sandbox.set_pause(None);
        self.announce(ContainerEventType::ContainerStoppedEvent, &sandbox.id, &sandbox);
    }

    /// A shim has ended. Unless it was asked to, its containers can't be watched any more and are killed, also those
    /// that it was just making.
    pub(super) async fn shim_gone(&self, sandbox_id: &str) {
        let Ok(sandbox) = self.sandbox(sandbox_id) else { return };
        let was_ready = sandbox.is_ready();
        sandbox.set_pause(None);
        self.end_shim(&sandbox.id, &sandbox.dir).await;
        for container in self.containers_of(&sandbox) {
            let life = container.life();
            if life.exit.is_some() {
                continue;
            }
            let started = life.started.or_else(|| read_json(&container.dir.join(STARTED_FILE)).ok());
            let exit = match read_json::<Exit>(&container.dir.join(EXIT_FILE)) {
                Ok(exit) => exit,
                Err(_) => self.end_unwatched(&container, started.is_some()).await,
            };
            // One that never ran stays what it was: made, and never to be started.
            if started.is_some() {
                self.container_ended(&container, started, exit);
            }
        }
        if was_ready {
            tracing::warn!(sandbox = %sandbox.id, "the shim of a pod has died; the pod is over");
            self.announce(ContainerEventType::ContainerStoppedEvent, &sandbox.id, &sandbox);
        }
    }

    /// Kills what runs of a container that has no shim any more; how it ended, which is kept where it has `started`.
    pub(super) async fn end_unwatched(&self, container: &Container, started: bool) -> Exit {
        let cgroup = container.record().cgroup.clone();
        let oom_killed = self.hierarchy.oom_kills(&cgroup) > 0;
        self.end_cgroup(&cgroup).await;
        let exit = Exit { code: KILLED_CODE, oom_killed, at_ns: self.now_ns() };
        if started {
            log_failure(&container.dir, write_json(&container.dir.join(EXIT_FILE), &exit));
        }
        exit
    }
}

async fn ask_state(link: &ShimLink) -> Result<PodState, ShimError> {
    match link.request(Op::State, &[]).await? {
        (Reply::State(state), _) => Ok(state),
        _ => Err(ShimError::Stuck),
    }
}

fn log_failure(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(path = %path.display(), %error, "cleaning up failed");
    }
}
