//! Netlink attributes being written: length, kind and value, four bytes aligned, nested in one another.

use std::io;

/// What precedes an attribute's value: its length and kind.
pub(crate) const HEADER_BYTES: usize = 4;
/// The longest value of an attribute: the length, header included, is a number of 16 bits.
pub(crate) const VALUE_LIMIT_BYTES: usize = u16::MAX as usize - HEADER_BYTES;
const NESTED: u16 = 0x8000;

/// Attributes being written.
#[derive(Debug, Default)]
pub struct Attributes {
    bytes: Vec<u8>,
    /// The length of the first value that was too long to be written.
    too_long: Option<usize>,
}

impl Attributes {
    /// An attribute of any bytes. One longer than an attribute can be is left out, and its batch not sent.
    pub fn raw(&mut self, kind: u16, value: &[u8]) {
        let Ok(length) = u16::try_from(HEADER_BYTES + value.len()) else {
            self.too_long.get_or_insert(value.len());
            return;
        };
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.raw(kind, &bytes);
    }

    /// A number as nftables wants it: the big end first.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    pub fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.too_long = self.too_long.or(inner.too_long);
        self.raw(kind | NESTED, &inner.bytes);
    }

    /// Takes over what was written elsewhere.
    pub(crate) fn append(&mut self, other: Self) {
        self.too_long = self.too_long.or(other.too_long);
        self.bytes.extend(other.bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes written.
    ///
    /// # Errors
    /// [`too_long`], when something was left out.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self.too_long {
            Some(length) => Err(too_long(length)),
            None => Ok(self.bytes),
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<u8>, Option<usize>) {
        (self.bytes, self.too_long)
    }
}

/// A value of `length` bytes fits no attribute.
pub(crate) fn too_long(length: usize) -> io::Error {
    let text = format!("an attribute of {length} bytes is too long for netlink");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_value_fits_and_a_longer_one_is_told() {
        let mut attributes = Attributes::default();
        attributes.raw(1, &vec![7; VALUE_LIMIT_BYTES]);
        assert_eq!(
            attributes.into_parts(),
            ([&[0xff, 0xff, 1, 0][..], &vec![7; VALUE_LIMIT_BYTES], &[0]].concat(), None)
        );
        let mut attributes = Attributes::default();
        attributes.nest(1, |outer| outer.nest(2, |inner| inner.raw(3, &vec![7; VALUE_LIMIT_BYTES + 1])));
        assert_eq!(attributes.into_parts().1, Some(VALUE_LIMIT_BYTES + 1));
        let mut attributes = Attributes::default();
        attributes.nest(1, |list| (0..2).for_each(|kind| list.raw(kind, &vec![7; 40_000])));
        assert_eq!(attributes.into_parts().1, Some(80_008), "two that fit each, and not together");
    }
}
