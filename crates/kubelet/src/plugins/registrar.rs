//! Registers plugins as their sockets come, and forgets them as the sockets go.
//!
//! Start at [`Registrar::run`]. Each socket has an attendant, a task that registers the plugin (again and again, until it
//! succeeds), waits for the socket's end, and takes the plugin back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use csi::RegistrationClient;
use csi::registration_v1::{InfoRequest, PluginInfo, RegistrationStatus};
use csi::v1::NodeGetInfoRequest;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tonic::Request;

use super::csi_node::{CsiNodes, NodeInfo};
use super::drivers::{Driver, Drivers};
use super::registration;
use super::sockets::{Identity, Sockets};
use crate::devices;

const RETRY: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(60));
/// How long calls may take, as upstream's.
const GET_INFO: Duration = Duration::from_secs(1);
const NOTIFY: Duration = Duration::from_secs(5);
const NODE_INFO: Duration = Duration::from_secs(120);

/// See the module's documentation.
pub struct Registrar {
    folder: PathBuf,
    desk: Arc<Desk>,
}

/// What the attendants share.
struct Desk {
    drivers: Drivers,
    devices: devices::Drivers,
    nodes: CsiNodes,
    /// Orders the changes of the API's objects: a driver's end and its return may overlap.
    turn: Mutex<()>,
    registrations: AtomicU64,
}

/// A plugin of which something is known that would have to be taken back.
enum Taken {
    Volumes(String),
    Devices(String),
}

impl Registrar {
    /// `folder` is where plugins put their sockets.
    pub fn new(folder: PathBuf, drivers: Drivers, nodes: CsiNodes, devices: devices::Drivers) -> Self {
        let desk = Desk { drivers, devices, nodes, turn: Mutex::default(), registrations: AtomicU64::new(0) };
        Self { folder, desk: Arc::new(desk) }
    }

    /// Runs until `shutdown`. Drivers stay in the API: they run on.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut failures = 0;
        while let Err(why) = self.desk.nodes.ensure().await {
            failures += 1;
            tracing::warn!(why, "the node's drivers cannot be written yet");
            tokio::time::sleep(RETRY.delay(failures)).await;
        }
        failures = 0;
        loop {
            if let Err(error) = self.follow(&mut failures).await {
                failures += 1;
                let folder = self.folder.display();
                tracing::warn!(%error, %folder, "plugins' registrations cannot be followed");
                tokio::time::sleep(RETRY.delay(failures)).await;
            }
        }
    }

    async fn follow(&self, failures: &mut u32) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let sockets = Sockets::below(self.folder.clone())?;
        let mut attended: BTreeMap<PathBuf, watch::Sender<Identity>> = BTreeMap::new();
        let mut attendants = JoinSet::new();
        loop {
            let there = sockets.look()?;
            *failures = 0;
            // An attendant whose sender goes takes its plugin back.
            attended.retain(|path, _| there.contains_key(path));
            for (path, identity) in there {
                match attended.get(&path) {
                    Some(sender) => {
                        sender.send_if_modified(|known| std::mem::replace(known, identity) != identity);
                    }
                    None => {
                        let (sender, identity) = watch::channel(identity);
                        attendants.spawn(self.desk.clone().attend(path.clone(), identity));
                        attended.insert(path, sender);
                    }
                }
            }
            while attendants.try_join_next().is_some() {}
            sockets.changed().await?;
        }
    }
}

impl Desk {
    async fn attend(self: Arc<Self>, path: PathBuf, mut identity: watch::Receiver<Identity>) {
        loop {
            identity.mark_unchanged();
            let number = self.registrations.fetch_add(1, Ordering::Relaxed);
            let mut name = None;
            let keep = async {
                self.register(&path, number, &mut name).await;
                match &name {
                    Some(Taken::Devices(name)) => self.devices.keep_connected(name, number).await,
                    _ => std::future::pending().await,
                }
            };
            let is_left = tokio::select! {
                () = keep => false,
                changed = identity.changed() => changed.is_err(),
            };
            match name {
                Some(Taken::Volumes(name)) => self.take_back(&name, number).await,
                Some(Taken::Devices(name)) => self.devices.remove(&name, number),
                None => {}
            }
            if is_left {
                return;
            }
        }
    }

    /// Registers the plugin at a socket, as often as needed. `name` is set before anything is known of the plugin that
    /// would have to be taken back.
    async fn register(&self, path: &Path, number: u64, name: &mut Option<Taken>) {
        let mut failures = 0;
        loop {
            match self.attempt(path, number, name).await {
                Ok(()) => return,
                Err(why) => {
                    failures += 1;
                    tracing::warn!(socket = %path.display(), why, "a plugin could not be registered");
                    tokio::time::sleep(RETRY.delay(failures)).await;
                }
            }
        }
    }

    async fn attempt(&self, path: &Path, number: u64, name: &mut Option<Taken>) -> Result<(), String> {
        let mut plugin = csi::registration(path).await.map_err(|error| error.to_string())?;
        let info = plugin.get_info(within(InfoRequest {}, GET_INFO)).await;
        let mut info = info.map_err(|status| status.message().to_owned())?.into_inner();
        if info.endpoint.is_empty() {
            info.endpoint = path.display().to_string();
        }
        let taken = self.take(&info, path, number, name).await;
        let told = tell(&mut plugin, taken.as_ref().err().cloned()).await;
        taken.and(told)
    }

    async fn take(
        &self,
        info: &PluginInfo,
        path: &Path,
        number: u64,
        name: &mut Option<Taken>,
    ) -> Result<(), String> {
        if info.r#type == devices::drivers::TYPE {
            registration::check_name(&info.name)?;
            self.devices.register(info, number)?;
            *name = Some(Taken::Devices(info.name.clone()));
            return Ok(());
        }
        let known = self.drivers.get(&info.name).filter(|known| known.registration != number);
        let version = registration::judge(
            info,
            &path.display().to_string(),
            known.as_ref().map(|known| &known.version),
        )?;
        let fail = |why| format!("RegisterPlugin error -- plugin registration failed with err: {why}");
        let about = self.ask(info).await.map_err(fail)?;
        let _turn = self.turn.lock().await;
        *name = Some(Taken::Volumes(info.name.clone()));
        let driver = Driver { endpoint: PathBuf::from(&info.endpoint), version, registration: number };
        self.drivers.insert(&info.name, driver);
        if let Err(why) = self.nodes.install(&about).await {
            self.drivers.remove(&info.name, number);
            return Err(fail(why));
        }
        tracing::info!(driver = info.name, endpoint = info.endpoint, "a driver of volumes has registered");
        Ok(())
    }

    async fn ask(&self, info: &PluginInfo) -> Result<NodeInfo, String> {
        let mut caller =
            self.drivers.connect(Path::new(&info.endpoint)).await.map_err(|error| error.to_string())?;
        let answer = caller.client.node_get_info(within(NodeGetInfoRequest {}, NODE_INFO)).await;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        Ok(NodeInfo {
            driver: info.name.clone(),
            node_id: answer.node_id,
            max_volumes: answer.max_volumes_per_node,
            topology: answer.accessible_topology.map(|t| t.segments).unwrap_or_default(),
        })
    }

    async fn take_back(&self, name: &str, number: u64) {
        let _turn = self.turn.lock().await;
        if !self.drivers.remove(name, number) {
            return;
        }
        tracing::info!(driver = name, "a driver of volumes is gone");
        if let Err(why) = self.nodes.uninstall(name).await {
            tracing::warn!(driver = name, why, "a driver that is gone is still in the API");
        }
    }
}

/// Tells a plugin whether it was taken.
async fn tell(plugin: &mut RegistrationClient, refusal: Option<String>) -> Result<(), String> {
    let status =
        RegistrationStatus { plugin_registered: refusal.is_none(), error: refusal.unwrap_or_default() };
    let told = plugin.notify_registration_status(within(status, NOTIFY)).await;
    told.map(drop).map_err(|status| format!("the plugin could not be told: {}", status.message()))
}

fn within<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}
