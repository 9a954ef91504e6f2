//! Addresses of both sides of the proxy, and the bytes that stand for them in the kernel's sets.

use std::net::Ipv4Addr;

use nft::places::{self, END_BYTES, FRONT_BYTES};

use crate::protocol::Protocol;

/// Where clients reach a port of a Service. The address of a node port is unspecified: it is any of the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Front {
    pub address: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
}

impl Front {
    pub fn bytes(self) -> [u8; FRONT_BYTES] {
        places::front(self.address, self.protocol as u8, self.port)
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (address, protocol, port) = places::read_front(bytes)?;
        Some(Self { address, protocol: Protocol::numbered(protocol)?, port })
    }
}

impl std::fmt::Display for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}:{}", self.protocol, self.address, self.port)
    }
}

impl Front {
    /// As users know it: `the address 192.0.2.1:80/TCP`, `the node port 30080/TCP`.
    pub fn told(self) -> String {
        let Self { address, protocol, port } = self;
        let protocol = protocol.name();
        match address.is_unspecified() {
            true => format!("the node port {port}/{protocol}"),
            false => format!("the address {address}:{port}/{protocol}"),
        }
    }
}

/// Where a connection to a Service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub port: u16,
}

impl Endpoint {
    pub fn bytes(self) -> [u8; END_BYTES] {
        places::end(self.address, self.port)
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        places::read_end(bytes).map(|(address, port)| Self { address, port })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

impl Range {
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

impl From<ipnet::Ipv4Net> for Range {
    fn from(net: ipnet::Ipv4Net) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(address: Ipv4Addr, port: u16) {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let front = Front { address, protocol, port };
                proptest::prop_assert_eq!(Front::read(&front.bytes()), Some(front));
            }
            let endpoint = Endpoint { address, port };
            proptest::prop_assert_eq!(Endpoint::read(&endpoint.bytes()), Some(endpoint));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0u8.., 0..20)) {
            let _ = (Front::read(&bytes), Endpoint::read(&bytes));
        }
    }
}
