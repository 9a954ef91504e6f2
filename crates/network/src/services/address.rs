//! Addresses of both sides of the proxy, and the bytes that stand for them in the kernel's sets.

use std::net::Ipv4Addr;

use crate::protocol::Protocol;

/// Where clients reach a port of a Service. The address of a node port is unspecified: it is any of the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Front {
    pub address: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
}

/// The bytes of a front: three words.
pub const FRONT_BYTES: usize = 12;

impl Front {
    pub fn bytes(self) -> [u8; FRONT_BYTES] {
        let ([a, b, c, d], [high, low]) = (self.address.octets(), self.port.to_be_bytes());
        [a, b, c, d, self.protocol as u8, 0, 0, 0, high, low, 0, 0]
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, protocol, _, _, _, high, low, _, _] = *bytes.first_chunk::<FRONT_BYTES>()?;
        let protocol = Protocol::numbered(protocol)?;
        Some(Self { address: Ipv4Addr::new(a, b, c, d), protocol, port: u16::from_be_bytes([high, low]) })
    }
}

impl std::fmt::Display for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}:{}", self.protocol, self.address, self.port)
    }
}

/// Where a connection to a Service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// The bytes of an endpoint: two words.
const ENDPOINT_BYTES: usize = 8;

impl Endpoint {
    pub fn bytes(self) -> [u8; ENDPOINT_BYTES] {
        let ([a, b, c, d], [high, low]) = (self.address.octets(), self.port.to_be_bytes());
        [a, b, c, d, high, low, 0, 0]
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, high, low, _, _] = *bytes.first_chunk::<ENDPOINT_BYTES>()?;
        Some(Self { address: Ipv4Addr::new(a, b, c, d), port: u16::from_be_bytes([high, low]) })
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
