//! The Service proxy: has the kernel send connections to a Service on to one of its endpoints.
//!
//! Start with [`Services`]: the agent, which follows Services and their slices and tells the kernel what has changed, in
//! one transaction. [`wanted`] says what a Service asks for, [`topology`] which endpoints are used, [`health`] who asks
//! whether there are any; [`state`] is what the sets of the table are to hold, [`table`] how these are laid out and what
//! happens to a packet. What cannot be done for a Service is said to [`Notices`]. Everything but `kernel` is pure. Only
//! the table of this name is touched.
//!
//! Never here: packets. The agent may end, and connections go on; when it starts again, it corrects what has changed
//! meanwhile.

mod address;
mod health;
mod kernel;
mod node_ports;
mod notices;
mod numbers;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod topology;
mod wanted;
mod way;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use informer::{Cache, Cached, Key};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::{Notify, watch};

use health::HealthPorts;
use kernel::Kernel;
pub use node_ports::{NodePorts, NodePortsError};
pub use notices::Notices;
use table::Table;
use topology::Here;
use wanted::Machine;

use crate::tables::Guard;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// How long after a transaction that the kernel refused the next one is tried.
const BACKOFF: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(30));

/// The settings of the proxy.
#[derive(Clone)]
pub struct ServicesConfig {
    /// The table's name.
    pub table: String,
    /// What the names of the tables of all clusters of the machine begin and end with.
    pub kin: (String, String),
    /// All pods of the cluster.
    pub pods: Ipv4Net,
    /// The node that this is.
    pub node: String,
    /// Addresses of this machine as they are now.
    pub addresses: watch::Receiver<Vec<IpAddr>>,
    /// Cluster addresses of Services that the node itself answers on: the proxy leaves these Services alone.
    pub answered: Vec<Ipv4Addr>,
    /// On which of the machine's addresses node ports are.
    pub node_ports: NodePorts,
    pub notices: Arc<dyn Notices>,
}

/// The watches that the proxy follows.
#[derive(Clone)]
pub struct ServicesView {
    pub services: Cache<Service>,
    pub slices: Cache<EndpointSlice>,
    /// The machine's first node.
    pub node: Cache<Node>,
}

/// What is to be looked at again.
#[derive(Default)]
struct Dirty {
    news: Mutex<News>,
    wake: Notify,
}

#[derive(Default)]
struct News {
    services: BTreeSet<Key>,
    /// The node's zone has changed, by which all Services choose.
    all: bool,
}

impl Dirty {
    fn add(&self, service: Key) {
        self.news().services.insert(service);
        self.wake.notify_one();
    }

    fn add_all(&self) {
        self.news().all = true;
        self.wake.notify_one();
    }

    fn take(&self) -> News {
        std::mem::take(&mut self.news())
    }

    fn news(&self) -> std::sync::MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy.
pub struct Services {
    kernel: Kernel,
    config: ServicesConfig,
    view: ServicesView,
    dirty: Arc<Dirty>,
}

impl Services {
    /// Follows the watches from now on; the kernel is told once [`Services::run`] runs.
    pub fn new(config: ServicesConfig, view: ServicesView) -> Self {
        let dirty: Arc<Dirty> = Arc::default();
        let addresses = v4(&config.addresses.borrow());
        let node_ports = config.node_ports.ranges(&addresses);
        let table = Table { name: config.table.clone(), pods: config.pods, node_ports };
        let here = Here { node: config.node.clone(), zone: None };
        let machine = Machine { here, addresses, answered: config.answered.clone() };
        let kernel =
            Kernel::new(table, config.kin.clone(), machine, view.services.clone(), view.slices.clone());
        let changed = dirty.clone();
        view.services.subscribe(move |delta| changed.add(delta.object().key.clone()));
        let changed = dirty.clone();
        view.slices.subscribe(move |delta| {
            // A slice may be given to another Service.
            let states = delta.old().into_iter().chain([delta.object()]);
            states.filter_map(service_of).for_each(|service| changed.add(service));
        });
        let changed = dirty.clone();
        view.node.subscribe(move |delta| {
            let zone = |node: &Cached<Node>| node.label(ZONE_LABEL).map(str::to_owned);
            if delta.old().and_then(zone) != zone(delta.object()) {
                changed.add_all();
            }
        });
        Self { kernel, config, view, dirty }
    }

    /// Keeps the kernel's table until `shutdown` starts; the table stays.
    pub async fn run(self, shutdown: Shutdown) {
        let busy = Arc::new(tokio::sync::Mutex::new(()));
        let work = async {
            self.view.services.wait_synced().await;
            self.view.slices.wait_synced().await;
            self.view.node.wait_synced().await;
            follow(self.kernel, self.config, &self.view, &self.dirty, &shutdown, &busy).await;
        };
        tokio::select! {
            () = work => {}
            () = shutdown.started() => {}
        }
        // A round that has begun comes to its end: two proxies that correct one table would undo each other's work.
        drop(busy.lock().await);
    }
}

/// Tells the kernel all, and then what changes, until a round panics. `busy` is held by a round.
async fn follow(
    kernel: Kernel,
    config: ServicesConfig,
    view: &ServicesView,
    dirty: &Dirty,
    shutdown: &Shutdown,
    busy: &Arc<tokio::sync::Mutex<()>>,
) {
    let ServicesConfig { mut addresses, node_ports, notices, node, .. } = config;
    let mut health = HealthPorts::new(node, shutdown.clone());
    let mut kernel = Some(kernel);
    let mut guard = Guard::default();
    let mut failures = 0u32;
    // Whether what the kernel has is to be looked at.
    let mut begins = true;
    while let Some(mut working) = kernel.take() {
        let news = dirty.take();
        let zone = zone(&view.node);
        let now = v4(&addresses.borrow_and_update());
        let whole = begins || news.all || now != working.machine.addresses;
        health.listen_on(node_ports.listening(&now)).await;
        working.move_to(node_ports.ranges(&now), now);
        // The kernel works in the caller's thread, for as long as a second where there is much.
        let held = busy.clone().lock_owned().await;
        let round = tokio::task::spawn_blocking(move || {
            let _held = held;
            working.machine.here.zone = zone;
            let result = if whole { working.correct() } else { working.update(news.services) };
            (working, result)
        });
        let (mut working, result) = match round.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "the Service proxy stops");
                return;
            }
        };
        health.tell(result.is_ok());
        health.change(working.take_health()).await;
        for notice in working.take_notices().into_iter().chain(health.take_notices()) {
            notice.say(&view.services, &*notices);
        }
        let waited = match result {
            Ok(()) => wait(&working, &mut guard, &mut addresses, &mut health, dirty).await,
            Err(error) => Err(error),
        };
        kernel = Some(working);
        match waited {
            Ok(is_touched) => (failures, begins) = (0, is_touched),
            Err(error) => {
                (failures, begins) = (failures.saturating_add(1), true);
                tracing::error!(%error, failures, "the kernel does not take the Services; trying again");
                tokio::time::sleep(BACKOFF.delay(failures)).await;
            }
        }
    }
}

/// Waits for news, and returns whether somebody else has changed the table.
async fn wait(
    kernel: &Kernel,
    guard: &mut Guard,
    addresses: &mut watch::Receiver<Vec<IpAddr>>,
    health: &mut HealthPorts,
    dirty: &Dirty,
) -> io::Result<bool> {
    tokio::select! {
        () = dirty.wake.notified() => Ok(false),
        () = health.try_again() => Ok(false),
        Ok(()) = addresses.changed() => Ok(false),
        touched = guard.touched(kernel.line()) => {
            touched?;
            tracing::warn!("somebody has changed the Services' table; it is put right");
            Ok(true)
        }
    }
}

fn v4(addresses: &[IpAddr]) -> Vec<Ipv4Addr> {
    let v4 = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    };
    addresses.iter().filter_map(v4).collect()
}

fn zone(node: &Cache<Node>) -> Option<String> {
    let nodes = node.scan("the cache has one node");
    nodes.first().and_then(|node| node.label(ZONE_LABEL)).map(str::to_owned)
}

/// The Service that a slice belongs to.
pub(crate) fn service_of(slice: &Cached<EndpointSlice>) -> Option<Key> {
    slice.label(SERVICE_NAME_LABEL).map(|name| Key::new(slice.namespace(), name))
}
