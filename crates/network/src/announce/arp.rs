//! Tells the machines of a link that an address is here now (ARP announcements, RFC 5227, section 2.3): who knew the
//! address elsewhere sends here from then on.
//!
//! The kernel answers whoever asks, and asks for itself; that nobody has asked for it has to be said by hand. Frames are
//! sent by a packet socket that receives none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrIn, bind, send, socket,
};

const EVERYBODY: [u8; 6] = [0xff; 6];
/// An EtherType.
const ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet and IPv4 with the lengths of their addresses, and a request.
const REQUEST: [u8; 8] = [0, 1, 0x08, 0, 6, 4, 0, 1];
/// The length of a frame of Ethernet, of which the rest is zeros.
const FRAME_BYTES: usize = 60;

/// An interface of the machine.
#[derive(Debug, Clone)]
struct Interface {
    name: String,
    link: LinkAddr,
    mac: [u8; 6],
    /// Its addresses, with their masks.
    networks: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// Announces each address on the link that it belongs to: the one whose network holds it, or else the one of the
/// machine's own address. The link `own`, on which nobody is, is none.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn announce(addresses: &BTreeSet<Ipv4Addr>, machine: Option<IpAddr>, own: &str) -> io::Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let interfaces = interfaces(own)?;
    for address in addresses {
        match choose(&interfaces, *address, machine) {
            Some(interface) => shout(interface, *address)?,
            None => tracing::warn!(%address, "no link of the machine is one to announce the address on"),
        }
    }
    Ok(())
}

fn interfaces(own: &str) -> io::Result<Vec<Interface>> {
    let mut links: BTreeMap<String, (LinkAddr, [u8; 6])> = BTreeMap::new();
    let mut networks: BTreeMap<String, Vec<(Ipv4Addr, Ipv4Addr)>> = BTreeMap::new();
    for one in getifaddrs()?.filter(|one| one.interface_name != own) {
        let Some(address) = one.address else { continue };
        if let Some(link) = address.as_link_addr() {
            links.extend(link.addr().map(|mac| (one.interface_name.clone(), (*link, mac))));
        }
        let mask = one.netmask.and_then(|mask| mask.as_sockaddr_in().map(SockaddrIn::ip));
        if let (Some(address), Some(mask)) = (address.as_sockaddr_in().map(SockaddrIn::ip), mask) {
            networks.entry(one.interface_name).or_default().push((address, mask));
        }
    }
    let named = links.into_iter().map(|(name, (link, mac))| {
        let networks = networks.remove(&name).unwrap_or_default();
        Interface { name, link, mac, networks }
    });
    // The loopback interface has an address of zeros.
    Ok(named.filter(|one| one.mac != [0; 6]).collect())
}

fn choose(interfaces: &[Interface], address: Ipv4Addr, machine: Option<IpAddr>) -> Option<&Interface> {
    let prefix = |interface: &Interface| {
        let holding = interface.networks.iter().filter(|(network, mask)| {
            mask.to_bits() != u32::MAX
                && network.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
        });
        holding.map(|(_, mask)| mask.to_bits().count_ones()).max()
    };
    let on_link =
        interfaces.iter().filter_map(|one| Some((prefix(one)?, one))).max_by_key(|(prefix, _)| *prefix);
    let of_machine = || {
        interfaces.iter().find(|one| one.networks.iter().any(|(own, _)| machine == Some(IpAddr::V4(*own))))
    };
    on_link.map(|(_, one)| one).or_else(of_machine)
}

fn shout(interface: &Interface, address: Ipv4Addr) -> io::Result<()> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    // Of no protocol, the socket receives nothing.
    bind(socket.as_raw_fd(), &interface.link)?;
    send(socket.as_raw_fd(), &frame(interface.mac, address), MsgFlags::empty())?;
    tracing::info!(%address, interface = interface.name, "the address of a load balancer is announced");
    Ok(())
}

/// A request for the address by who has it.
fn frame(mac: [u8; 6], address: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    let parts: [&[u8]; 8] =
        [&EVERYBODY, &mac, &ARP, &REQUEST, &mac, &address.octets(), &[0; 6], &address.octets()];
    let bytes = parts.into_iter().flatten();
    frame.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_asks_everybody_for_the_senders_own_address() {
        let frame = frame([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 8));
        let wanted = [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7,
            192, 0, 2, 8, 0, 0, 0, 0, 0, 0, 192, 0, 2, 8,
        ];
        assert_eq!(frame[..42], wanted);
        assert_eq!(frame[42..], [0; 18]);
    }
}
