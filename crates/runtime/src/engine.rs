//! The runtime's core: sandboxes and containers and the operations on them, with no wire format other
//! than the CRI's own messages.
//!
//! [`Engine`] holds everything. Each operation works on one sandbox or container behind its gate; what shims
//! report comes in through one loop ([`Engine::follow_shims`]). State is on disk before it is relied upon.

mod container;
mod containers;
mod exec;
mod image_mounts;
mod leftovers;
mod list;
mod processes;
mod recover;
mod sandbox;
mod sandboxes;
mod stats;
mod status;
mod sysctl;
mod terminal;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base::{Clock, Supervisor, TaskKind};
use cri::v1::{ContainerEventResponse, ContainerEventType};
use tokio::sync::{broadcast, mpsc};

pub use container::Container;
pub(crate) use containers::stop_signal;
pub use processes::EngineStreams;
pub use sandbox::Sandbox;

use crate::cdi::CdiError;
use crate::cni::{Cni, CniError};
use crate::config::Config;
use crate::rootfs::{Rootfs, RootfsError};
use crate::shim_link::{Notice, Notices, ShimError};
use crate::spec::{SpecError, available_capabilities};
use cgroup::CgroupMounts;
use shim::protocol::{Event, Failure};

/// The namespace of sandboxes that belong to a build of an image instead of a pod. No pod's namespace has a dot.
pub const BUILD_NAMESPACE: &str = "knarr.build";
/// The annotation of a sandbox whose network stays empty.
pub const NO_NETWORK: &str = "knarr/no-network";

/// Events kept for a client that reads slowly, before it misses some.
const EVENT_BUFFER: usize = 1024;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    AlreadyExists(String),
    /// Not possible in the state the thing is in.
    #[error("{0}")]
    State(String),
    #[error("{0}")]
    Timeout(String),
    #[error(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: {0}: unknown"
    )]
    Payload(String),
    #[error(
        "failed to exec in container: failed to start exec {id:?}: OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown"
    )]
    Exec { id: String, why: String },
    #[error("failed to setup network for sandbox {sandbox:?}: {source}")]
    Network {
        sandbox: String,
        #[source]
        source: CniError,
    },
    #[error("not implemented: {0}")]
    NotImplemented(&'static str),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Cdi(#[from] CdiError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error(transparent)]
    Shim(#[from] ShimError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl EngineError {
    /// A shim's refusal, classified by whether the caller caused it.
    fn from_start(error: ShimError) -> Self {
        match error {
            ShimError::Refused(Failure::Payload(text)) => Self::Payload(text),
            other => Self::Shim(other),
        }
    }
}

/// What the engine works with.
pub struct Deps {
    pub rootfs: Arc<dyn Rootfs>,
    pub clock: Arc<dyn Clock>,
    pub supervisor: Supervisor,
}

/// Sandboxes, containers and their machinery.
pub struct Engine {
    config: Config,
    deps: Deps,
    cni: Cni,
    hierarchy: CgroupMounts,
    capabilities: BTreeSet<String>,
    notices: Notices,
    events: broadcast::Sender<ContainerEventResponse>,
    registry: RwLock<Registry>,
    /// Names being made or in use: a name is made once.
    names: Mutex<HashMap<String, String>>,
    /// The node's pod CIDR as the client set it.
    pod_cidr: Mutex<String>,
}

#[derive(Default)]
struct Registry {
    sandboxes: HashMap<String, Arc<Sandbox>>,
    containers: HashMap<String, Arc<Container>>,
}

/// The other end of [`Notices`].
pub type NoticeReceiver = mpsc::UnboundedReceiver<(String, Notice)>;

impl Engine {
    /// Makes the engine and its directories; nothing is looked for yet (see [`Engine::recover`]).
    pub fn new(config: Config, deps: Deps) -> io::Result<(Arc<Self>, NoticeReceiver)> {
        std::fs::create_dir_all(config.sandboxes_dir())?;
        let (notices, receiver) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(EVENT_BUFFER);
        let engine = Self {
            cni: Cni::new(config.network.clone()),
            hierarchy: CgroupMounts::detect()?,
            capabilities: available_capabilities(),
            config,
            deps,
            notices,
            events,
            registry: RwLock::default(),
            names: Mutex::default(),
            pod_cidr: Mutex::default(),
        };
        Ok((Arc::new(engine), receiver))
    }

    /// Takes in what shims report, until nobody can report any more.
    pub async fn follow_shims(self: Arc<Self>, mut notices: NoticeReceiver) {
        while let Some((sandbox, notice)) = notices.recv().await {
            match notice {
                Notice::Event(Event::Container { container, started, exit }) => {
                    if let Ok(container) = self.container(&container) {
                        self.container_ended(&container, started, exit);
                    }
                }
                Notice::Event(Event::Pause) => self.pause_ended(&sandbox),
                Notice::Event(Event::Exec { .. }) => {}
                // What the shim leaves may take a while to end; others' notices do not wait for it.
                Notice::Gone => {
                    let engine = Arc::clone(&self);
                    self.deps.supervisor.spawn(TaskKind::Background, "shim-gone", async move {
                        engine.shim_gone(&sandbox).await;
                    });
                }
            }
        }
    }

    /// Owns what outlives a client's call.
    pub fn supervisor(&self) -> &Supervisor {
        &self.deps.supervisor
    }

    /// What happens to containers from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<ContainerEventResponse> {
        self.events.subscribe()
    }

    /// Whether pods can get a network.
    pub fn network_ready(&self) -> Result<(), CniError> {
        self.cni.ready()
    }

    pub fn set_pod_cidr(&self, cidr: String) {
        *self.pod_cidr.lock().unwrap_or_else(|e| e.into_inner()) = cidr;
    }

    /// The sandbox with the id `id`; an unambiguous prefix of the id suffices.
    pub fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, EngineError> {
        find(&self.registry().sandboxes, id).ok_or_else(|| {
            EngineError::NotFound(format!("an error occurred when try to find sandbox {id:?}: not found"))
        })
    }

    /// The container with the id `id`; an unambiguous prefix of the id suffices.
    pub fn container(&self, id: &str) -> Result<Arc<Container>, EngineError> {
        find(&self.registry().containers, id).ok_or_else(|| {
            EngineError::NotFound(format!("an error occurred when try to find container {id:?}: not found"))
        })
    }

    fn containers_of(&self, sandbox: &Sandbox) -> Vec<Arc<Container>> {
        let registry = self.registry();
        registry.containers.values().filter(|c| c.sandbox.id == sandbox.id).cloned().collect()
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(|e| e.into_inner())
    }

    fn registry_mut(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(|e| e.into_inner())
    }

    fn reserve_name(&self, name: &str, id: &str) -> Result<(), EngineError> {
        let mut names = self.names.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(holder) = names.get(name) {
            return Err(EngineError::AlreadyExists(format!(
                "failed to reserve name {name:?}: name {name:?} is reserved for {holder:?}"
            )));
        }
        names.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    fn release_name(&self, name: &str) {
        self.names.lock().unwrap_or_else(|e| e.into_inner()).remove(name);
    }

    fn now_ns(&self) -> i64 {
        i64::try_from(self.deps.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    fn announce(&self, kind: ContainerEventType, id: &str, sandbox: &Sandbox) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let containers = self.containers_of(sandbox);
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: self.now_ns(),
            pod_sandbox_status: Some(sandbox.status()),
            containers_statuses: containers.iter().map(|c| c.status()).collect(),
        };
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

/// 64 hexadecimal digits, as other runtimes name things.
fn new_id() -> String {
    let bytes: [u8; 32] = base::random::bytes();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn find<T>(things: &HashMap<String, Arc<T>>, id: &str) -> Option<Arc<T>> {
    if let Some(exact) = things.get(id) {
        return Some(Arc::clone(exact));
    }
    // Short ids are typed by people; shorter than this they are taken for a mistake.
    if id.len() < 4 {
        return None;
    }
    let mut matching = things.iter().filter(|(full, _)| full.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((_, one)), None) => Some(Arc::clone(one)),
        _ => None,
    }
}
