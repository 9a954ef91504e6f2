//! Netlink messages being read. A malformed message ends the reading, and never panics.

use std::io;

/// Length of a netlink message's header.
const HEADER: usize = 16;
/// Length of what precedes the attributes of a netfilter message (`nfgenmsg`).
pub(crate) const FAMILY_HEADER: usize = 4;
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;

/// A netlink message of an answer.
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// The socket that asked for what happened.
    pub port: u32,
    pub payload: &'a [u8],
}

/// The messages of a datagram; it ends at the first one that is malformed.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(word(datagram, 0)?).ok()?;
        let payload = datagram.get(HEADER..length)?;
        let message = Message {
            kind: half(datagram, 4)?,
            flags: half(datagram, 6)?,
            sequence: word(datagram, 8)?,
            port: word(datagram, 12)?,
            payload,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Kinds (without flags) and values of the attributes in `bytes`, up to the first that is malformed.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let (kind, value) = (half(bytes, 2)? & 0x3fff, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The error that an error message reports; `Ok` is an acknowledgement.
pub(crate) fn verdict(payload: &[u8]) -> io::Result<()> {
    match word(payload, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut short")),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0u8.., 0..200)) {
            for message in messages(&bytes) {
                let _ = (verdict(message.payload), attributes(message.payload).count());
            }
        }
    }
}
