//! Addresses with ports as keys and values of sets: a word for each field, of which the kernel compares all bytes.

use std::net::Ipv4Addr;

use crate::Field;

/// The fields of a front: where connections come in.
pub const FRONT: [Field; 3] = [Field::Address, Field::Protocol, Field::Port];
/// The fields of an end: where connections are sent to.
pub const END: [Field; 2] = [Field::Address, Field::Port];
/// The bytes of a front: three words.
pub const FRONT_BYTES: usize = 12;
/// The bytes of an end: two words.
pub const END_BYTES: usize = 8;

/// The bytes of a front: an address, the number of a transport protocol, and a port.
pub fn front(address: Ipv4Addr, protocol: u8, port: u16) -> [u8; FRONT_BYTES] {
    let ([a, b, c, d], [high, low]) = (address.octets(), port.to_be_bytes());
    [a, b, c, d, protocol, 0, 0, 0, high, low, 0, 0]
}

/// The front that some bytes begin with.
pub fn read_front(bytes: &[u8]) -> Option<(Ipv4Addr, u8, u16)> {
    let [a, b, c, d, protocol, _, _, _, high, low, _, _] = *bytes.first_chunk::<FRONT_BYTES>()?;
    Some((Ipv4Addr::new(a, b, c, d), protocol, u16::from_be_bytes([high, low])))
}

/// The bytes of an end: an address and a port.
pub fn end(address: Ipv4Addr, port: u16) -> [u8; END_BYTES] {
    let ([a, b, c, d], [high, low]) = (address.octets(), port.to_be_bytes());
    [a, b, c, d, high, low, 0, 0]
}

/// The end that some bytes begin with.
pub fn read_end(bytes: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let [a, b, c, d, high, low, _, _] = *bytes.first_chunk::<END_BYTES>()?;
    Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let address = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(front(address, 17, 0x22b8), [192, 0, 2, 1, 17, 0, 0, 0, 0x22, 0xb8, 0, 0]);
        assert_eq!(read_front(&front(address, 17, 8888)), Some((address, 17, 8888)));
        assert_eq!(end(address, 0x22b8), [192, 0, 2, 1, 0x22, 0xb8, 0, 0]);
        assert_eq!(read_end(&end(address, 8888)), Some((address, 8888)));
        assert_eq!((read_front(&[0; 11]), read_end(&[0; 7])), (None, None));
    }
}
