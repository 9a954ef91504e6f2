//! [`Tunnel`]: the VXLAN link, with the routes and forwarding entries that lead to peers, over rtnetlink.
//!
//! A peer's part of the pods' range is routed to the peer's own address on the link, and two entries say how a packet gets
//! there: the address's MAC address, which is computed from the address, and the machine that has this MAC address.
//! Nothing is learnt from packets. Only the link of this name and routes of this protocol number are touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVxlan, NeighbourAddRequest, RouteMessageBuilder,
};
use rustix::io::Errno;

use super::Error;

/// What a packet grows by in the tunnel: headers of Ethernet, VXLAN, UDP and IPv4.
pub(super) const OVERHEAD_BYTES: u32 = 50;

/// How a peer's part is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    Tunnel(Ipv4Addr),
    /// By a link that the peer shares with this machine.
    Direct(Ipv4Addr),
}

/// What the kernel has of ours.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub hops: BTreeMap<Ipv4Net, Hop>,
    /// The peers that the link has both entries for.
    pub entries: BTreeSet<Ipv4Addr>,
    /// Entries of the link that lead nowhere.
    pub odd: Vec<NeighbourMessage>,
}

/// What the link is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The cluster's number, by which several tunnels share a port.
    pub number: u32,
    pub port: u16,
    /// This machine's address.
    pub machine: Ipv4Addr,
    /// The address by which the machine itself is known to pods of peers.
    pub address: Ipv4Addr,
}

pub(super) struct Tunnel {
    pub name: String,
    /// By what our routes are known.
    protocol: RouteProtocol,
    handle: Handle,
    /// The link's index, once it is there.
    link: Option<u32>,
}

/// The MAC address that a machine with this address has on the tunnel.
fn mac_of(machine: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = machine.octets();
    [0x0a, 0x58, a, b, c, d]
}

impl Tunnel {
    pub fn new(name: String, protocol: u8, handle: Handle) -> Self {
        Self { name, protocol: protocol.into(), handle, link: None }
    }

    /// Makes the link what it is to be; one that differs in what cannot be changed is made anew.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure(&mut self, shape: Shape) -> Result<(), Error> {
        let mtu = underlay_mtu(&self.handle, shape.machine).await?.saturating_sub(OVERHEAD_BYTES);
        let mut found = self.find().await?;
        if let Some(link) = found.take_if(|link| !is_tunnel(link, shape)) {
            let removed = self.handle.link().del(link.header.index).execute().await;
            removed.map_err(Error::netlink("removing a tunnel of another shape"))?;
        }
        if found.is_none() {
            let link = LinkVxlan::new(&self.name, shape.number).port(shape.port).learning(false);
            // Peers take packets from the address that the Node has, whatever others the machine has.
            let link = link.local(shape.machine).address(mac_of(shape.machine).to_vec()).mtu(mtu).up();
            let made = self.handle.link().add(link.build()).execute().await;
            made.map_err(|error| match error {
                unknown if is(&unknown, Errno::OPNOTSUPP) => Error::NoVxlan,
                other => Error::netlink("making the tunnel")(other),
            })?;
            found = self.find().await?;
        }
        let link = found.ok_or(Error::NoLink)?.header.index;
        let change = LinkMessageBuilder::<LinkUnspec>::new().index(link).mtu(mtu).up();
        let changed = self.handle.link().set(change.build()).execute().await;
        changed.map_err(Error::netlink("setting up the tunnel"))?;
        let added = self.handle.address().add(link, IpAddr::V4(shape.address), 32).execute().await;
        tolerate(added, Errno::EXIST).map_err(Error::netlink("giving the tunnel its address"))?;
        self.link = Some(link);
        Ok(())
    }

    /// Looks for the link, without making it.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn look(&mut self) -> Result<bool, Error> {
        self.link = self.find().await?.map(|link| link.header.index);
        Ok(self.link.is_some())
    }

    /// Whether the link is there, the same as before, and up.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn is_up(&self) -> Result<bool, Error> {
        let link = self.find().await?;
        let is_up = |link: &LinkMessage| link.header.flags.contains(LinkFlags::Up);
        Ok(link.is_some_and(|link| Some(link.header.index) == self.link && is_up(&link)))
    }

    async fn find(&self) -> Result<Option<LinkMessage>, Error> {
        match self.handle.link().get().match_name(self.name.clone()).execute().try_next().await {
            Ok(link) => Ok(link),
            Err(absent) if is(&absent, Errno::NODEV) => Ok(None),
            Err(error) => Err(Error::netlink("looking for the tunnel")(error)),
        }
    }

    /// What the kernel has of ours within the pods' range.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn read(&self, pods: Ipv4Net) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut asking = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        while let Some(route) = asking.try_next().await.map_err(Error::netlink("reading routes"))? {
            if let Some((range, hop)) = self.hop_of(&route).filter(|(range, _)| pods.contains(range)) {
                found.hops.insert(range, hop);
            }
        }
        let Some(link) = self.link else { return Ok(found) };
        let mut sides: [BTreeSet<Ipv4Addr>; 2] = Default::default();
        for (family, side) in [AddressFamily::Inet, AddressFamily::Bridge].into_iter().zip(&mut sides) {
            let mut asking = self.handle.neighbours().get().set_address_family(family).execute();
            while let Some(entry) =
                asking.try_next().await.map_err(Error::netlink("reading forwarding entries"))?
            {
                if entry.header.ifindex != link {
                    continue;
                }
                match entry_of(&entry) {
                    Some(peer) => drop(side.insert(peer)),
                    None if entry.header.state == NeighbourState::Permanent => found.odd.push(entry),
                    // What the kernel keeps for itself, such as the addresses of groups.
                    None => {}
                }
            }
        }
        found.entries = &sides[0] & &sides[1];
        for peer in &sides[0] ^ &sides[1] {
            self.forget(peer).await?;
        }
        Ok(found)
    }

    fn hop_of(&self, route: &RouteMessage) -> Option<(Ipv4Net, Hop)> {
        if route.header.protocol != self.protocol {
            return None;
        }
        let (mut range, mut gateway, mut link) = (None, None, None);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => range = Some(*address),
                RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
                RouteAttribute::Oif(index) => link = Some(*index),
                _ => {}
            }
        }
        let range = Ipv4Net::new(range?, route.header.destination_prefix_length).ok()?;
        let is_tunnel = link.is_some() && link == self.link;
        Some((range, if is_tunnel { Hop::Tunnel(gateway?) } else { Hop::Direct(gateway?) }))
    }

    /// The part that a route which went was for, if the route was ours.
    pub fn part_of(&self, route: &RouteMessage) -> Option<Ipv4Net> {
        self.hop_of(route).map(|(range, _)| range)
    }

    /// Has packets to the peer find the way through the tunnel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn reach(&self, peer: Ipv4Addr) -> Result<(), Error> {
        for entry in self.entries(peer)? {
            entry.replace().execute().await.map_err(Error::netlink("adding a forwarding entry"))?;
        }
        Ok(())
    }

    /// Takes the peer's entries out; fine when they are gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn forget(&self, peer: Ipv4Addr) -> Result<(), Error> {
        for mut entry in self.entries(peer)? {
            let gone = self.handle.neighbours().del(entry.message_mut().clone()).execute().await;
            tolerate(gone, Errno::NOENT).map_err(Error::netlink("removing a forwarding entry"))?;
        }
        Ok(())
    }

    /// Takes an entry out that leads nowhere.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove(&self, entry: NeighbourMessage) -> Result<(), Error> {
        let gone = self.handle.neighbours().del(entry).execute().await;
        tolerate(gone, Errno::NOENT).map_err(Error::netlink("removing an odd forwarding entry"))
    }

    /// Where a packet to the peer goes: to a MAC address, and with it to a machine.
    fn entries(&self, peer: Ipv4Addr) -> Result<[NeighbourAddRequest; 2], Error> {
        let (link, mac) = (self.link.ok_or(Error::NoLink)?, mac_of(peer));
        let neighbours = self.handle.neighbours();
        let address =
            neighbours.add(link, peer.into()).link_layer_address(&mac).state(NeighbourState::Permanent);
        let machine = neighbours.add_bridge(link, &mac).destination(peer.into()).flags(NeighbourFlags::Own);
        Ok([address, machine])
    }

    /// Leads to a part, or no longer; fine when the route is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn route(&self, range: Ipv4Net, hop: Option<Hop>) -> Result<(), Error> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(range.addr(), range.prefix_len())
            .protocol(self.protocol);
        let routes = self.handle.route();
        match hop {
            Some(Hop::Tunnel(peer)) => {
                let route = route.gateway(peer).output_interface(self.link.ok_or(Error::NoLink)?).onlink();
                routes
                    .add(route.build())
                    .replace()
                    .execute()
                    .await
                    .map_err(Error::netlink("routing to a peer"))
            }
            Some(Hop::Direct(peer)) => {
                let added = routes.add(route.gateway(peer).build()).replace().execute().await;
                added.map_err(Error::netlink("routing to a peer on the same link"))
            }
            None => {
                let gone = routes.del(route.build()).execute().await;
                tolerate(gone, Errno::SRCH).map_err(Error::netlink("removing the route to a peer"))
            }
        }
    }

    /// Whether the machine at the address is on the link that has this machine's own address. On another link of this
    /// machine it would not be enough: the machine there may know the own address by a router alone, and sends what it has
    /// for this machine through the tunnel.
    pub async fn is_on_link(&self, machine: Ipv4Addr, own: Ipv4Addr) -> bool {
        let question = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(machine, 32).build();
        let answer = self.handle.route().get(question).execute().try_next().await;
        // No route is no link either.
        let (Ok(Some(route)), Ok(link)) = (answer, link_of(&self.handle, own).await) else { return false };
        let has_gateway =
            route.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Gateway(_)));
        let is_there =
            |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::Oif(index) if *index == link);
        !has_gateway && route.attributes.iter().any(is_there)
    }
}

/// The peer that an entry of the link is for, if the entry is what [`Tunnel::reach`] makes.
fn entry_of(entry: &NeighbourMessage) -> Option<Ipv4Addr> {
    let peer = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        // An entry of a link's own table does not say of which family the machine's address is.
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            <[u8; 4]>::try_from(&bytes[..]).ok().map(Ipv4Addr::from)
        }
        _ => None,
    })?;
    let is_its_mac = |attribute: &NeighbourAttribute| matches!(attribute, NeighbourAttribute::LinkLayerAddress(mac) if mac[..] == mac_of(peer));
    let is_ours = entry.header.state == NeighbourState::Permanent && entry.attributes.iter().any(is_its_mac);
    is_ours.then_some(peer)
}

fn is_tunnel(link: &LinkMessage, shape: Shape) -> bool {
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let data = infos.into_iter().flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    });
    data.is_some_and(|data| {
        let wanted = [
            InfoVxlan::Id(shape.number),
            InfoVxlan::Port(shape.port),
            InfoVxlan::Learning(false),
            InfoVxlan::Local(shape.machine),
        ];
        wanted.iter().all(|one| data.contains(one))
    })
}

/// The largest packet, in bytes, that leaves by the interface with an address of this machine.
///
/// # Errors
/// When there is no such interface, or the kernel cannot be asked.
pub(super) async fn underlay_mtu(handle: &Handle, machine: Ipv4Addr) -> Result<u32, Error> {
    let index = link_of(handle, machine).await?;
    let link = handle.link().get().match_index(index).execute().try_next().await;
    let link = link.map_err(Error::netlink("looking at the machine's interface"))?;
    let mtu = link.into_iter().flat_map(|link| link.attributes).find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(mtu),
        _ => None,
    });
    mtu.ok_or(Error::NoAddress(machine))
}

/// The index of the interface with an address of this machine.
async fn link_of(handle: &Handle, machine: Ipv4Addr) -> Result<u32, Error> {
    let mut asking = handle.address().get().set_address_filter(machine.into()).execute();
    let found = asking.try_next().await.map_err(Error::netlink("looking for the machine's address"))?;
    let is_machine = |attribute: &AddressAttribute| {
        matches!(attribute, AddressAttribute::Address(address) | AddressAttribute::Local(address)
            if *address == IpAddr::V4(machine))
    };
    let found = found.filter(|address| address.attributes.iter().any(is_machine));
    Ok(found.ok_or(Error::NoAddress(machine))?.header.index)
}

fn is(error: &rtnetlink::Error, code: Errno) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(error) if error.raw_code() == -code.raw_os_error())
}

fn tolerate(result: Result<(), rtnetlink::Error>, code: Errno) -> Result<(), rtnetlink::Error> {
    result.or_else(|error| if is(&error, code) { Ok(()) } else { Err(error) })
}
