//! Announces addresses of load balancers: of all nodes, one answers for each address of the pool, and has the machines on
//! its link know.
//!
//! Start with [`Announcer`]: the agent, which follows Services, their slices and the Nodes. [`owners`] says which node has
//! which address: all nodes come to the same result by themselves, without talk between them. [`holding`] gives the
//! machine the addresses, so that its kernel answers for them, and [`arp`] tells the link who has them now. What comes
//! for an address and a port of its Service is the Service proxy's part.
//!
//! Never here: who gets which address. The machine keeps the addresses when the agent ends; when it starts again, it
//! corrects what has changed meanwhile.

mod arp;
mod holding;
mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use futures::StreamExt;
use informer::{Cache, Index, Key};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::services::service_of;
use crate::tables::Guard;
use holding::{Holding, Messages};
use owners::{Member, Wish, member, wish};

/// How long after a change that the kernel refused the next one is tried.
const BACKOFF: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(30));
/// When an address is announced for the second time (`ANNOUNCE_INTERVAL`, RFC 5227, section 1.1): the former owner may
/// have answered after the first.
const INTERVAL: Duration = Duration::from_secs(2);
/// The value under which Services are found whose addresses are announced.
const ANNOUNCED: &str = "announced";

/// The settings of the announcer.
#[derive(Debug, Clone)]
pub struct AnnounceConfig {
    /// The name of the link that has the addresses (at most 15 bytes), and of the nftables table.
    pub name: String,
    /// The condition of Services whose addresses are announced.
    pub condition: &'static str,
    /// The node that this is.
    pub node: String,
    /// Addresses of this machine as they are now, the node's own first.
    pub addresses: watch::Receiver<Vec<IpAddr>>,
}

/// The watches that the announcer follows.
#[derive(Clone)]
pub struct AnnounceView {
    pub services: Cache<Service>,
    pub slices: Cache<EndpointSlice>,
    pub nodes: Cache<Node>,
}

/// Why the kernel does not have the addresses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    #[error("{what}: {cause}")]
    Netlink { what: &'static str, cause: rtnetlink::Error },
    #[error("the link of load balancers' addresses is gone")]
    NoLink,
    #[error("the netlink connection ended")]
    Ended,
}

impl Error {
    fn netlink(what: &'static str) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |cause| Self::Netlink { what, cause }
    }
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
    /// Another set of nodes can announce addresses.
    all: bool,
}

impl Dirty {
    fn note(&self, note: impl FnOnce(&mut News)) {
        note(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    fn take(&self) -> News {
        std::mem::take(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The agent.
pub struct Announcer {
    config: AnnounceConfig,
    view: AnnounceView,
    announced: Index<Service>,
    slices_of: Index<EndpointSlice>,
    dirty: Arc<Dirty>,
    /// The addresses that are this machine's, by Service.
    owned: BTreeMap<Key, BTreeSet<Ipv4Addr>>,
}

impl Announcer {
    /// Follows the watches from now on; the kernel is told once [`Announcer::run`] runs.
    pub fn new(config: AnnounceConfig, view: AnnounceView) -> Self {
        let dirty: Arc<Dirty> = Arc::default();
        let condition = config.condition;
        let announced = view.services.index("announced", move |service, found| {
            if service.typed().is_some_and(|service| wish(service, condition).is_some()) {
                found(ANNOUNCED);
            }
        });
        let slices_of = view.slices.index("service", |slice, found| {
            if let Some(service) = service_of(slice) {
                found(&service.to_string());
            }
        });
        let changed = dirty.clone();
        view.services.subscribe(move |delta| {
            let key = delta.object().key.clone();
            changed.note(|news| news.services.extend([key]));
        });
        let changed = dirty.clone();
        view.slices.subscribe(move |delta| {
            let states = delta.old().into_iter().chain([delta.object()]);
            states.filter_map(service_of).for_each(|service| {
                changed.note(|news| news.services.extend([service]));
            });
        });
        let changed = dirty.clone();
        view.nodes.subscribe(move |delta| {
            // Nodes are renewed all the time, and hardly ever lost.
            let is_gone = matches!(delta, informer::Delta::Deleted(_));
            if is_gone || delta.old().map(member) != Some(member(delta.object())) {
                changed.note(|news| news.all = true);
            }
        });
        Self { config, view, announced, slices_of, dirty, owned: BTreeMap::new() }
    }

    /// Keeps the kernel's state until `shutdown` starts; the state stays.
    pub async fn run(mut self, shutdown: Shutdown) {
        let work = async {
            self.view.services.wait_synced().await;
            self.view.slices.wait_synced().await;
            self.view.nodes.wait_synced().await;
            let mut failures = 0u32;
            loop {
                let error = match self.connect(&mut failures).await {
                    Ok(()) => continue,
                    Err(error) => error,
                };
                failures = failures.saturating_add(1);
                tracing::error!(%error, failures, "load balancers' addresses are not all announced; trying again");
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
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        let holding = Holding::new(self.config.name.clone(), handle);
        tokio::select! {
            biased;
            done = self.follow(holding, messages, failures) => done,
            () = connection => Err(Error::Ended),
        }
    }

    async fn follow(
        &mut self,
        mut holding: Holding,
        mut messages: Messages,
        failures: &mut u32,
    ) -> Result<(), Error> {
        let mut addresses = self.config.addresses.clone();
        addresses.mark_unchanged();
        self.dirty.take();
        self.look_at_all();
        let wanted = self.wanted();
        holding.correct(&wanted).await?;
        *failures = 0;
        let mut guard = Guard::default();
        // What is to be announced once more, and when.
        let mut again: Option<(Instant, BTreeSet<Ipv4Addr>)> = self.announce(wanted);
        loop {
            let next = again.as_ref().map_or_else(Instant::now, |(at, _)| *at);
            tokio::select! {
                () = self.dirty.wake.notified() => {}
                Ok(()) = addresses.changed() => return Ok(()),
                message = messages.next() => match message {
                    Some((message, _)) if holding.is_broken_by(&message) => {
                        tracing::warn!("somebody has taken away load balancers' addresses; they are put back");
                        return Ok(());
                    }
                    Some(_) => continue,
                    None => return Err(Error::Ended),
                },
                touched = holding.touched(&mut guard) => {
                    if touched? {
                        tracing::warn!("somebody has changed the table of load balancers' addresses; it is put right");
                        return Ok(());
                    }
                    continue;
                }
                () = tokio::time::sleep_until(next), if again.is_some() => {
                    if let Some((_, addresses)) = again.take() {
                        self.tell(&(&addresses & &self.wanted()));
                    }
                    continue;
                }
            }
            let news = self.dirty.take();
            if news.all {
                self.look_at_all();
            }
            news.services.iter().for_each(|service| self.look(service));
            let taken = holding.change(&self.wanted()).await?;
            if !taken.is_empty() {
                let before = again.take().map(|(_, addresses)| addresses).unwrap_or_default();
                again = self.announce(&taken | &before);
            }
        }
    }

    fn wanted(&self) -> BTreeSet<Ipv4Addr> {
        self.owned.values().flatten().copied().collect()
    }

    fn look_at_all(&mut self) {
        let mut services: BTreeSet<Key> = self.announced.keys(ANNOUNCED).into_iter().collect();
        services.extend(self.owned.keys().cloned());
        services.iter().for_each(|service| self.look(service));
    }

    /// Looks which addresses of a Service are this machine's.
    fn look(&mut self, key: &Key) {
        let service = self.view.services.get_key(key);
        let wish = service.and_then(|service| wish(&service, self.config.condition));
        let own = wish.map(|wish| self.own(key, &wish)).unwrap_or_default();
        if own.is_empty() {
            self.owned.remove(key);
        } else {
            self.owned.insert(key.clone(), own);
        }
    }

    fn own(&self, key: &Key, wish: &Wish) -> BTreeSet<Ipv4Addr> {
        let nodes = self.view.nodes.scan("any node may announce an address");
        let members: Vec<(&str, Member)> = nodes.iter().map(|node| (node.name(), member(node))).collect();
        let mut able = owners::able(&members);
        if wish.is_local {
            let slices = self.slices_of.get(&key.to_string());
            let with =
                owners::with_endpoints(slices.iter().filter_map(|slice| slice.typed().map(AsRef::as_ref)));
            able.retain(|node| with.contains(*node));
        }
        let is_own = |address: &&Ipv4Addr| {
            let owner = owners::owner(**address, able.iter().copied());
            owner.is_some_and(|owner| owner == self.config.node)
        };
        wish.addresses.iter().filter(is_own).copied().collect()
    }

    /// Tells the link, and returns what is to be told once more.
    fn announce(&self, addresses: BTreeSet<Ipv4Addr>) -> Option<(Instant, BTreeSet<Ipv4Addr>)> {
        self.tell(&addresses);
        (!addresses.is_empty()).then(|| (Instant::now() + INTERVAL, addresses))
    }

    fn tell(&self, addresses: &BTreeSet<Ipv4Addr>) {
        let machine = self.config.addresses.borrow().first().copied();
        if let Err(error) = arp::announce(addresses, machine, &self.config.name) {
            tracing::warn!(%error, ?addresses, "the link is not told who has load balancers' addresses");
        }
    }
}
