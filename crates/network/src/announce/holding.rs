//! [`Holding`]: the addresses as the machine's own, over rtnetlink, and a table that lets in on them what is for Services.
//!
//! The addresses are on a link of their own, on which nobody is: the kernel answers for the addresses of any link on all of
//! them. The link is a bridge without ports, which a node's kernel can make anyway. Servers of the machine that listen on
//! all addresses are not reached by these: what was not for a port of a Service, and so was not sent on, is refused.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use nft::{Batch, Comparison, Element, Field, Holds, Hook, Passing, Register, Set};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec};
use rustix::io::Errno;

use super::Error;
use crate::protocol::Protocol;
use crate::tables::{Guard, Line};

const ADDRESSES: &str = "addresses";
/// After what else looks at packets for the machine (`NF_IP_PRI_NAT_SRC`).
const LATE: i32 = 100;
/// After connections to Services are translated (`NF_IP_PRI_NAT_DST`): they pass no other chain then.
const AFTER_SERVICES: i32 = -99;
const KEY: Register = Register::at(0);
const SCRATCH: Register = Register::at(15);

pub(super) type Messages =
    UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr)>;

/// What the kernel has been told.
pub(super) struct Holding {
    name: String,
    handle: Handle,
    /// The link's index, once it is there.
    link: Option<u32>,
    held: BTreeSet<Ipv4Addr>,
    /// Nothing while a transaction is on its way.
    line: Option<Line>,
}

impl Holding {
    pub fn new(name: String, handle: Handle) -> Self {
        let line = Some(Line::new(&name));
        Self { name, handle, link: None, held: BTreeSet::new(), line }
    }

    /// Reads what the kernel has and corrects it; what is right stays, so that no connection notices.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn correct(&mut self, wanted: &BTreeSet<Ipv4Addr>) -> Result<(), Error> {
        self.link = self.find().await?.map(|link| link.header.index);
        self.held = match self.link {
            Some(link) => self.read(link).await?,
            None => BTreeSet::new(),
        };
        if wanted.is_empty() {
            return self.give_up().await;
        }
        self.make().await?;
        self.change(wanted).await?;
        // Of the table nothing is known.
        self.guard(wanted.clone()).await
    }

    /// Has the machine have these addresses, and returns those that it did not have.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn change(&mut self, wanted: &BTreeSet<Ipv4Addr>) -> Result<BTreeSet<Ipv4Addr>, Error> {
        if *wanted == self.held {
            return Ok(BTreeSet::new());
        }
        if wanted.is_empty() {
            self.give_up().await?;
            return Ok(BTreeSet::new());
        }
        if self.link.is_none() {
            self.make().await?;
        }
        let (taken, gone) = (wanted - &self.held, &self.held - wanted);
        // Refused first, then reached.
        self.guard(wanted.clone()).await?;
        let link = self.link.ok_or(Error::NoLink)?;
        for address in gone {
            self.held.remove(&address);
            self.remove(link, address).await?;
        }
        for address in &taken {
            let added = self.handle.address().add(link, IpAddr::V4(*address), 32).execute().await;
            tolerate(added, Errno::EXIST).map_err(Error::netlink("taking a load balancer's address"))?;
            self.held.insert(*address);
        }
        Ok(taken)
    }

    /// Whether a message says that the link or an address of it is gone.
    pub fn is_broken_by(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
        let NetlinkPayload::InnerMessage(message) = &message.payload else { return false };
        match message {
            RouteNetlinkMessage::DelLink(link) => Some(link.header.index) == self.link,
            RouteNetlinkMessage::NewLink(link) => {
                Some(link.header.index) == self.link && !link.header.flags.contains(LinkFlags::Up)
            }
            RouteNetlinkMessage::DelAddress(address) => {
                Some(address.header.index) == self.link
                    && address_of(address).is_some_and(|address| self.held.contains(&address))
            }
            _ => false,
        }
    }

    /// Waits until somebody else changes the table, if there is to be one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn touched(&self, guard: &mut Guard) -> io::Result<bool> {
        match &self.line {
            Some(line) if !self.held.is_empty() => guard.touched(line).await.map(|()| true),
            _ => std::future::pending().await,
        }
    }

    /// Takes link and table off the machine.
    async fn give_up(&mut self) -> Result<(), Error> {
        self.held.clear();
        if let Some(link) = self.link.take() {
            let gone = self.handle.link().del(link).execute().await;
            tolerate(gone, Errno::NODEV).map_err(Error::netlink("removing the link of addresses"))?;
        }
        let table = self.name.clone();
        self.send(move |line| {
            if !line.has_table()? {
                return Ok(());
            }
            let mut batch = Batch::new();
            batch.delete_table(&table);
            line.send(batch)
        })
        .await
    }

    async fn find(&self) -> Result<Option<LinkMessage>, Error> {
        match self.handle.link().get().match_name(self.name.clone()).execute().try_next().await {
            Ok(link) => Ok(link),
            Err(absent) if is(&absent, Errno::NODEV) => Ok(None),
            Err(error) => Err(Error::netlink("looking for the link of addresses")(error)),
        }
    }

    async fn make(&mut self) -> Result<(), Error> {
        let made = self.handle.link().add(LinkBridge::new(&self.name).up().build()).execute().await;
        tolerate(made, Errno::EXIST).map_err(Error::netlink("making the link of addresses"))?;
        let link = self.find().await?.ok_or(Error::NoLink)?.header.index;
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(link).up();
        let set = self.handle.link().set(up.build()).execute().await;
        set.map_err(Error::netlink("setting up the link of addresses"))?;
        self.link = Some(link);
        Ok(())
    }

    async fn read(&self, link: u32) -> Result<BTreeSet<Ipv4Addr>, Error> {
        let mut found = BTreeSet::new();
        let mut asking = self.handle.address().get().set_link_index_filter(link).execute();
        while let Some(address) = asking.try_next().await.map_err(Error::netlink("reading addresses"))? {
            found.extend(address_of(&address));
        }
        Ok(found)
    }

    async fn remove(&self, link: u32, address: Ipv4Addr) -> Result<(), Error> {
        let asking = self.handle.address().get();
        let mut asking = asking.set_link_index_filter(link).set_address_filter(IpAddr::V4(address)).execute();
        while let Some(found) = asking.try_next().await.map_err(Error::netlink("reading addresses"))? {
            if address_of(&found) == Some(address) {
                let gone = self.handle.address().del(found).execute().await;
                tolerate(gone, Errno::ADDRNOTAVAIL)
                    .map_err(Error::netlink("giving up a load balancer's address"))?;
            }
        }
        Ok(())
    }

    /// Makes the table anew, in one transaction.
    async fn guard(&mut self, addresses: BTreeSet<Ipv4Addr>) -> Result<(), Error> {
        let table = self.name.clone();
        self.send(move |line| line.send(table_of(&table, &addresses))).await
    }

    /// The kernel works in the caller's thread.
    async fn send(
        &mut self,
        work: impl FnOnce(&mut Line) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let mut line = self.line.take().unwrap_or_else(|| Line::new(&self.name));
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut line);
            (line, result)
        });
        let (line, result) = done.await.map_err(io::Error::other)?;
        self.line = Some(line);
        Ok(result?)
    }
}

fn table_of(table: &str, addresses: &BTreeSet<Ipv4Addr>) -> Batch {
    let mut batch = Batch::new();
    // Adding before deleting makes the deletion succeed whether or not the table is there.
    batch.new_table(table);
    batch.delete_table(table);
    batch.new_table(table);
    batch.new_set(Set { table, name: ADDRESSES, key: &[Field::Address], holds: Holds::Members }, 1);
    let keys: Vec<[u8; 4]> = addresses.iter().map(Ipv4Addr::octets).collect();
    batch.add_elements(table, ADDRESSES, keys.iter().map(|key| Element { key, data: None }));
    // Answers to the machine's own connections from these addresses pass: they are no first packets. What the machine
    // sends to itself is looked at as it is sent: it comes in as a connection that is known.
    for (chain, hook, priority) in [("input", Hook::Input, LATE), ("output", Hook::Output, AFTER_SERVICES)] {
        batch.new_hooked_chain(table, chain, Passing::Connections, hook, priority);
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            batch.new_rule(table, chain, |rule| {
                rule.connection_is_new(SCRATCH);
                rule.load_destination(KEY);
                rule.member(ADDRESSES, KEY, Comparison::Equal);
                rule.transport(protocol as u8, SCRATCH);
                if protocol == Protocol::Tcp { rule.reset() } else { rule.reject() }
            });
        }
    }
    batch
}

fn address_of(message: &AddressMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V4(address)) | AddressAttribute::Local(IpAddr::V4(address)) => {
            Some(*address)
        }
        _ => None,
    })
}

fn is(error: &rtnetlink::Error, code: Errno) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(error) if error.raw_code() == -code.raw_os_error())
}

fn tolerate(result: Result<(), rtnetlink::Error>, code: Errno) -> Result<(), rtnetlink::Error> {
    result.or_else(|error| if is(&error, code) { Ok(()) } else { Err(error) })
}
