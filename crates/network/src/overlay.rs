//! The overlay: pods reach pods of other machines by their own addresses, through a VXLAN tunnel between the machines.
//!
//! Start with [`Overlay`]: the agent, which follows the Nodes and has the kernel lead to each node's part of the pods'
//! range. [`peers`] says which machine has which part, [`tunnel`] makes link, routes and forwarding entries, [`guard`] keeps
//! out what does not come from a node. Machines do not talk to one another about any of it: all that is needed stands in
//! the Nodes. Where nodes share a link, and the settings say so, packets go without the tunnel.
//!
//! Never here: the pods of this machine. The link and the routes stay when the agent ends; when it starts again, it
//! corrects what has changed meanwhile. A machine without peers has no tunnel.

mod guard;
mod peers;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use informer::{Cache, Cached};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use nft::{Events, Sender};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{MulticastGroup, new_connection, new_multicast_connection};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};

use crate::listening;
use guard::Guard;
use peers::{Here, NodeView, Peers};
use tunnel::{Hop, OVERHEAD_BYTES, Shape, Tunnel};

/// The tunnel's UDP port: the one that Linux has used since before 4789 was registered, and firewalls for clusters name.
pub const PORT: u16 = 8472;
/// How long after a change that the kernel refused the next one is tried.
const BACKOFF: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(30));

/// How packets get to other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Through the tunnel.
    Tunnel,
    /// Without it to machines on the same link, through it to others.
    Direct,
}

/// The settings of the overlay.
#[derive(Debug, Clone)]
pub struct OverlayConfig {
    /// The link's name (at most 15 bytes), and that of the nftables table.
    pub name: String,
    /// By what the kernel's routes are known (`rtm_protocol`); no other cluster's on the machine.
    pub route_protocol: u8,
    pub routing: Routing,
    /// All pods of the cluster.
    pub pods: Ipv4Net,
    /// This machine's part of them.
    pub range: Ipv4Net,
    /// The node that this is.
    pub node: String,
    /// Addresses of this machine as they are now, the node's own first.
    pub addresses: watch::Receiver<Vec<IpAddr>>,
}

/// Why the kernel does not lead to peers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    #[error("{what}: {cause}")]
    Netlink { what: &'static str, cause: rtnetlink::Error },
    #[error("the kernel has no VXLAN (CONFIG_VXLAN; try: modprobe vxlan)")]
    NoVxlan,
    #[error("the tunnel is gone")]
    NoLink,
    #[error("no interface has the machine's address {0}")]
    NoAddress(Ipv4Addr),
    #[error("the machine has no address of IPv4")]
    NoMachine,
    #[error("the netlink connection ended")]
    Ended,
}

impl Error {
    fn netlink(what: &'static str) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |cause| Self::Netlink { what, cause }
    }
}

/// The largest packet, in bytes, that pods may send where this address is the node's, so that it fits into the tunnel.
///
/// # Errors
/// As [`underlay_mtu`].
pub async fn pod_mtu(machine: Ipv4Addr) -> Result<u32, Error> {
    Ok(underlay_mtu(machine).await?.saturating_sub(OVERHEAD_BYTES))
}

/// The largest packet, in bytes, that leaves by the interface with an address of this machine.
///
/// # Errors
/// When no interface has the address, or the kernel cannot be asked.
pub async fn underlay_mtu(machine: Ipv4Addr) -> Result<u32, Error> {
    let (connection, handle, _) = new_connection()?;
    tokio::select! {
        biased;
        mtu = tunnel::underlay_mtu(&handle, machine) => mtu,
        () = connection => Err(Error::Ended),
    }
}

/// The nodes that have changed.
#[derive(Default)]
struct Dirty {
    nodes: Mutex<BTreeSet<String>>,
    wake: Notify,
}

impl Dirty {
    fn add(&self, node: &str) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned());
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The overlay.
pub struct Overlay {
    config: OverlayConfig,
    nodes: Cache<Node>,
    dirty: Arc<Dirty>,
    peers: Peers,
}

/// The tunnel's number: clusters that share a machine have ranges of their own, and all machines of a cluster the same.
fn number(config: &OverlayConfig) -> u32 {
    config.pods.network().to_bits() >> 8
}

fn view(node: &Cached<Node>) -> Arc<NodeView> {
    node.view()
}

impl Overlay {
    /// Follows the nodes from now on; the kernel is told once [`Overlay::run`] runs.
    pub fn new(config: OverlayConfig, nodes: Cache<Node>) -> Self {
        let dirty: Arc<Dirty> = Arc::default();
        let changed = dirty.clone();
        nodes.subscribe(move |delta| {
            // Nodes are renewed all the time, and hardly ever moved.
            if delta.old().map(view) != Some(view(delta.object())) {
                changed.add(&delta.object().key.name);
            }
        });
        Self { config, nodes, dirty, peers: Peers::default() }
    }

    /// Keeps the kernel's state until `shutdown` starts; the state stays.
    pub async fn run(mut self, shutdown: Shutdown) {
        let work = async {
            self.nodes.wait_synced().await;
            let mut failures = 0u32;
            loop {
                let error = match self.connect(&mut failures).await {
                    Ok(()) => continue,
                    Err(error) => error,
                };
                failures = failures.saturating_add(1);
                tracing::error!(%error, failures, "pods of other machines are not all reached; trying again");
                tokio::time::sleep(BACKOFF.delay(failures)).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.started() => {}
        }
    }

    /// Corrects the kernel's state and follows changes, until it is to be corrected again.
    async fn connect(&mut self, failures: &mut u32) -> Result<(), Error> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Route];
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        let kernel = Kernel {
            tunnel: Tunnel::new(self.config.name.clone(), self.config.route_protocol, handle),
            guard: Arc::new(Guard {
                table: self.config.name.clone(),
                port: PORT,
                number: number(&self.config),
            }),
            sender: None,
            hops: BTreeMap::new(),
            users: HashMap::new(),
        };
        tokio::select! {
            biased;
            done = self.follow(kernel, messages, failures) => done,
            () = connection => Err(Error::Ended),
        }
    }

    async fn follow(
        &mut self,
        mut kernel: Kernel,
        mut messages: Messages,
        failures: &mut u32,
    ) -> Result<(), Error> {
        let here = self.here();
        let mut addresses = self.config.addresses.clone();
        addresses.mark_unchanged();
        self.dirty.take();
        self.peers = Peers::default();
        for node in self.nodes.scan("the overlay begins with all nodes") {
            self.peers.set(&node.key.name, Some(&view(&node)), &here);
        }
        kernel.correct(&self.config, &here, &self.peers).await?;
        let events = listening::subscribe()?;
        *failures = 0;
        loop {
            tokio::select! {
                () = self.dirty.wake.notified() => {}
                Ok(()) = addresses.changed() => return Ok(()),
                message = messages.next() => match message {
                    Some((message, _)) if kernel.is_broken_by(&message).await? => {
                        tracing::warn!("somebody has changed the tunnel or its routes; they are put right");
                        return Ok(());
                    }
                    Some(_) => continue,
                    None => return Err(Error::Ended),
                },
                touched = kernel.is_guard_touched(&events) => match touched? {
                    true => {
                        tracing::warn!("somebody has changed the tunnel's table; it is put right");
                        return Ok(());
                    }
                    false => continue,
                },
            }
            let mut ranges = BTreeSet::new();
            for name in self.dirty.take() {
                let node = self.nodes.find(&informer::Key::new("", &name));
                ranges.extend(self.peers.set(&name, node.as_ref().map(view).as_deref(), &here));
            }
            kernel.update(&self.config, &here, &self.peers, ranges).await?;
        }
    }

    fn here(&self) -> Here {
        let v4 = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        Here {
            pods: self.config.pods,
            node: self.config.node.clone(),
            ranges: vec![self.config.range],
            addresses: self.config.addresses.borrow().iter().filter_map(v4).collect(),
        }
    }
}

type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr)>;

/// What the kernel has been told.
struct Kernel {
    tunnel: Tunnel,
    guard: Arc<Guard>,
    sender: Option<Sender>,
    hops: BTreeMap<Ipv4Net, Hop>,
    /// How many parts are reached by each peer through the tunnel; empty where there is no tunnel.
    users: HashMap<Ipv4Addr, u32>,
}

impl Kernel {
    /// Reads what the kernel has and corrects it; what is right stays, so that no connection notices.
    async fn correct(&mut self, config: &OverlayConfig, here: &Here, peers: &Peers) -> Result<(), Error> {
        if self.tunnel.look().await? {
            self.make_tunnel(config, here).await?;
        }
        let found = self.tunnel.read(config.pods).await?;
        self.hops = found.hops;
        for hop in self.hops.values() {
            if let Hop::Tunnel(peer) = hop {
                *self.users.entry(*peer).or_default() += 1;
            }
        }
        if self.tunnel.look().await? {
            let users: Vec<Ipv4Addr> = self.users.keys().copied().collect();
            self.guard(move |guard, sender| guard.make(sender, users.into_iter())).await?;
            for peer in self.users.keys().filter(|peer| !found.entries.contains(peer)) {
                self.tunnel.reach(*peer).await?;
            }
            for peer in found.entries.iter().filter(|peer| !self.users.contains_key(peer)) {
                self.tunnel.forget(*peer).await?;
            }
            for entry in found.odd {
                self.tunnel.remove(entry).await?;
            }
        }
        let ranges: BTreeSet<Ipv4Net> = self.hops.keys().copied().chain(peers.ranges()).collect();
        self.update(config, here, peers, ranges).await?;
        tracing::info!(peers = self.hops.len(), "the kernel leads to the pods of other machines");
        Ok(())
    }

    /// Whether packets to the peer need no tunnel, and those from the peer come without one.
    async fn is_direct(&self, config: &OverlayConfig, here: &Here, peer: Ipv4Addr) -> bool {
        match here.addresses.first() {
            Some(own) if config.routing == Routing::Direct => self.tunnel.is_on_link(peer, *own).await,
            _ => false,
        }
    }

    /// Has the kernel lead to these parts as the peers say.
    async fn update(
        &mut self,
        config: &OverlayConfig,
        here: &Here,
        peers: &Peers,
        ranges: BTreeSet<Ipv4Net>,
    ) -> Result<(), Error> {
        for range in ranges {
            let hop = match peers.owner(range) {
                None => None,
                Some(peer) if self.is_direct(config, here, peer).await => Some(Hop::Direct(peer)),
                Some(peer) => Some(Hop::Tunnel(peer)),
            };
            if self.hops.get(&range).copied() != hop {
                self.lead(config, here, range, hop).await?;
            }
        }
        Ok(())
    }

    async fn lead(
        &mut self,
        config: &OverlayConfig,
        here: &Here,
        range: Ipv4Net,
        hop: Option<Hop>,
    ) -> Result<(), Error> {
        // The way first, then what leads there.
        if let Some(Hop::Tunnel(peer)) = hop {
            if self.users.is_empty() {
                self.make_tunnel(config, here).await?;
                self.guard(|guard, sender| guard.make(sender, std::iter::empty())).await?;
            }
            if !self.users.contains_key(&peer) {
                self.guard(move |guard, sender| guard.admit(sender, peer)).await?;
                self.tunnel.reach(peer).await?;
            }
            *self.users.entry(peer).or_default() += 1;
        }
        self.tunnel.route(range, hop).await?;
        let former = match hop {
            Some(hop) => self.hops.insert(range, hop),
            None => self.hops.remove(&range),
        };
        let Some(Hop::Tunnel(former)) = former else { return Ok(()) };
        let Some(count) = self.users.get_mut(&former) else { return Ok(()) };
        *count -= 1;
        if *count == 0 {
            self.users.remove(&former);
            self.tunnel.forget(former).await?;
            self.guard(move |guard, sender| guard.expel(sender, former)).await?;
        }
        Ok(())
    }

    async fn make_tunnel(&mut self, config: &OverlayConfig, here: &Here) -> Result<(), Error> {
        let machine = here.addresses.first().copied().ok_or(Error::NoMachine)?;
        let (number, address) = (number(config), config.range.network());
        self.tunnel.ensure(Shape { number, port: PORT, machine, address }).await
    }

    /// The kernel works in the caller's thread.
    async fn guard(
        &mut self,
        work: impl FnOnce(&Guard, &Sender) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let (sender, guard) = (self.sender.take(), self.guard.clone());
        let done = tokio::task::spawn_blocking(move || {
            let sender = match sender {
                Some(sender) => sender,
                None => Sender::open()?,
            };
            work(&guard, &sender).map(|()| sender)
        });
        // After an error the socket's answers are not of use to anybody.
        self.sender = Some(done.await.map_err(io::Error::other)??);
        Ok(())
    }

    /// Waits for news of tables, and returns whether somebody else has changed the guard's.
    async fn is_guard_touched(&self, events: &AsyncFd<Events>) -> io::Result<bool> {
        let mut ready = events.readable().await?;
        let own = self.sender.as_ref().map(Sender::port).transpose()?;
        let is_touched = ready.get_inner().concern(&self.guard.table, own.unwrap_or(0))?;
        ready.clear_ready();
        Ok(is_touched && !self.users.is_empty())
    }

    /// Whether what the kernel tells means that something of ours is not as it was left.
    async fn is_broken_by(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> Result<bool, Error> {
        let is_ours = |link: &LinkMessage| {
            let is_name =
                |one: &LinkAttribute| matches!(one, LinkAttribute::IfName(name) if *name == self.tunnel.name);
            link.attributes.iter().any(is_name)
        };
        let NetlinkPayload::InnerMessage(message) = &message.payload else { return Ok(false) };
        match message {
            // What the message says of the link may be how it was made.
            RouteNetlinkMessage::DelLink(link) | RouteNetlinkMessage::NewLink(link) if is_ours(link) => {
                Ok(!self.users.is_empty() && !self.tunnel.is_up().await?)
            }
            RouteNetlinkMessage::DelRoute(route) => {
                Ok(self.tunnel.part_of(route).is_some_and(|range| self.hops.contains_key(&range)))
            }
            _ => Ok(false),
        }
    }
}
