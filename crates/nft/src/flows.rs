//! Flows of UDP that the kernel tracks (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`): reading and forgetting.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use netlink_sys::{Socket, SocketAddr};

use crate::Attributes;
use crate::batch::{ACK, Head, NETLINK_NETFILTER, REQUEST, frame};
use crate::dump::dump;
use crate::message::{self, attributes, messages};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const IPV4: u8 = 2;
const UDP: u8 = 17;
/// Attributes of a flow: both directions, its number, its zone, and what a listing is to be limited to.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// Of the filter: that flows are to be of the original direction's protocol (`CTA_FILTER_F_CTA_PROTO_NUM`).
const FILTER_ORIGINAL: u16 = 1;
const BY_PROTOCOL: u32 = 1 << 3;

/// A flow of UDP over IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub from: SocketAddrV4,
    /// Where the sender sends to.
    pub to: SocketAddrV4,
    /// Who answers: another than `to` where the flow is translated.
    pub answers: SocketAddrV4,
    id: Vec<u8>,
}

/// All flows of UDP. Blocks.
///
/// # Errors
/// When the kernel refuses.
pub fn udp_flows() -> io::Result<Vec<Flow>> {
    let mut asked = Attributes::default();
    asked.nest(ORIGINAL, |tuple| tuple.nest(2, |protocol| protocol.raw(1, &[UDP])));
    asked.nest(FILTER, |filter| filter.raw(FILTER_ORIGINAL, &BY_PROTOCOL.to_ne_bytes()));
    let mut flows = Vec::new();
    dump(IPV4, GET, asked, |message| flows.extend(flow(message)))?;
    Ok(flows)
}

/// Has the kernel forget a flow, so that its next packet is treated as a first one; fine when it is gone. Blocks.
///
/// # Errors
/// When the kernel refuses.
pub fn forget(flow: &Flow) -> io::Result<()> {
    let mut asked = Attributes::default();
    asked.nest(ORIGINAL, |tuple| {
        tuple.nest(1, |addresses| {
            addresses.raw(1, &flow.from.ip().octets());
            addresses.raw(2, &flow.to.ip().octets());
        });
        tuple.nest(2, |protocol| {
            protocol.raw(1, &[UDP]);
            protocol.raw(2, &flow.from.port().to_be_bytes());
            protocol.raw(3, &flow.to.port().to_be_bytes());
        });
    });
    asked.raw(ID, &flow.id);
    let mut request = Vec::new();
    let head = Head { kind: DELETE, flags: REQUEST | ACK, sequence: 1, family: IPV4, resource: 0 };
    frame(&mut request, head, &asked.finish()?);
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match messages(&answer).find(|message| message.kind == message::ERROR) {
        Some(message) => match message::verdict(message.payload) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
        None => Ok(()),
    }
}

/// The flow of a message, if it is one of UDP that is not set apart in a zone.
fn flow(message: &[u8]) -> Option<Flow> {
    let of = |kind: u16| attributes(message).find(|(found, _)| *found == kind).map(|(_, value)| value);
    if of(ZONE).is_some() {
        return None;
    }
    let (from, to) = tuple(of(ORIGINAL)?)?;
    let (answers, _) = tuple(of(REPLY)?)?;
    Some(Flow { from, to, answers, id: of(ID)?.to_vec() })
}

/// Source and destination.
fn tuple(bytes: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let of = |bytes: &[u8], kind: u16| {
        attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value.to_vec())
    };
    let (addresses, protocol) = (of(bytes, 1)?, of(bytes, 2)?);
    let address = |kind| Some(Ipv4Addr::from(*of(&addresses, kind)?.first_chunk::<4>()?));
    let port = |kind| Some(u16::from_be_bytes(*of(&protocol, kind)?.first_chunk::<2>()?));
    if of(&protocol, 1)?.first() != Some(&UDP) {
        return None;
    }
    Some((SocketAddrV4::new(address(1)?, port(2)?), SocketAddrV4::new(address(2)?, port(3)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = flow(&bytes);
        }
    }
}
