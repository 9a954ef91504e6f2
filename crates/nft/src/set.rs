//! Sets and maps, and their elements: any number of these in one transaction.

use crate::attributes::VALUE_LIMIT_BYTES;
use crate::batch::{CREATE, DELETE_SET_ELEMENTS, NEW_SET, NEW_SET_ELEMENTS};
use crate::{Attributes, Batch};

/// A set's elements are ranges (`NFT_SET_INTERVAL`), of several fields (`NFT_SET_CONCAT`).
const FLAG_INTERVAL: u32 = 4;
const FLAG_CONCAT: u32 = 0x80;
/// The set's elements carry data: it is a map (`NFT_SET_MAP`).
const FLAG_MAP: u32 = 8;
/// The set's elements may expire (`NFT_SET_TIMEOUT`), and rules add them (`NFT_SET_EVAL`).
const FLAG_TIMEOUT: u32 = 0x10;
const FLAG_RULES: u32 = 0x20;
/// `NFT_DATA_VERDICT`: the data are verdicts.
const TYPE_VERDICT: u32 = 0xffff_ff00;
/// `NFT_JUMP`, `NFT_GOTO`.
pub(crate) const JUMP: u32 = -3i32 as u32;
pub(crate) const GOTO: u32 = -4i32 as u32;
/// How far a list of types shifts for each that is added: `TYPE_BITS` of the program `nft`.
const TYPE_BITS: u32 = 6;
/// A field's room in a key: that of a register.
const FIELD_BYTES: u32 = 4;

/// What a part of a key or of a value is, four bytes of room each. The kernel does not look at it; by it the program
/// `nft` shows elements (its `enum datatypes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Of IPv4.
    Address = 7,
    Protocol = 12,
    Port = 13,
    Number = 19,
    /// A packet's priority.
    Class = 23,
}

impl Field {
    /// The bytes of its room that it takes.
    fn bytes(self) -> u32 {
        match self {
            Self::Address | Self::Number | Self::Class => 4,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }
}

/// A set or a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set<'a> {
    pub table: &'a str,
    pub name: &'a str,
    pub key: &'a [Field],
    pub holds: Holds<'a>,
}

/// What a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds<'a> {
    /// Keys: it is a set.
    Members,
    /// Ranges of keys: each field has a first and a last value.
    Ranges,
    /// A value for each key: it is a map.
    Values(&'a [Field]),
    /// A map of values that rules add, `limit` at most, and that expire.
    Remembered { values: &'a [Field], limit: u32 },
    /// A verdict for each key.
    Verdicts,
}

/// A member of a set, or a pair of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'a> {
    pub key: &'a [u8],
    pub data: Option<Data<'a>>,
}

/// The value that a map holds for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    Value(&'a [u8]),
    /// Continues in a chain, and returns to the rule after it.
    Jump(&'a str),
    /// Continues in a chain, and does not return.
    Goto(&'a str),
}

impl Element<'_> {
    fn write(&self, list: &mut Attributes) {
        let verdict = |element: &mut Attributes, code, chain| {
            element.nest(2, |data| {
                data.nest(2, |verdict| {
                    verdict.number(1, code);
                    verdict.text(2, chain);
                });
            });
        };
        list.nest(1, |element| {
            element.nest(1, |key| key.raw(1, self.key));
            match self.data {
                None => {}
                Some(Data::Value(value)) => element.nest(2, |data| data.raw(1, value)),
                Some(Data::Jump(chain)) => verdict(element, JUMP, chain),
                Some(Data::Goto(chain)) => verdict(element, GOTO, chain),
            }
        });
    }
}

impl Batch {
    /// Makes a set, empty; no error if it exists as it is described. `id` distinguishes the set from others made in
    /// this batch.
    pub fn new_set(&mut self, set: Set<'_>, id: u32) {
        let (flags, values) = match set.holds {
            Holds::Members => (0, None),
            Holds::Ranges => (FLAG_INTERVAL | FLAG_CONCAT, None),
            Holds::Values(values) => (FLAG_MAP, Some(values)),
            Holds::Remembered { values, .. } => (FLAG_MAP | FLAG_TIMEOUT | FLAG_RULES, Some(values)),
            Holds::Verdicts => (FLAG_MAP, None),
        };
        self.message(NEW_SET, CREATE, |a| {
            a.text(1, set.table);
            a.text(2, set.name);
            a.number(3, flags);
            a.number(4, types(set.key));
            a.number(5, room_bytes(set.key));
            match (set.holds, values) {
                (Holds::Verdicts, _) => a.number(6, TYPE_VERDICT),
                (_, Some(values)) => {
                    a.number(6, types(values));
                    a.number(7, room_bytes(values));
                }
                (_, None) => {}
            }
            match set.holds {
                Holds::Ranges => a.nest(9, |about| {
                    about.nest(2, |fields| {
                        for field in set.key {
                            fields.nest(1, |one| one.number(1, field.bytes()));
                        }
                    });
                }),
                Holds::Remembered { limit, .. } => a.nest(9, |about| about.number(1, limit)),
                Holds::Members | Holds::Values(_) | Holds::Verdicts => {}
            }
            a.number(10, id);
        });
    }

    /// Adds elements to a set: in one message as many as its list of elements holds.
    pub fn add_elements<'e>(
        &mut self,
        table: &str,
        set: &str,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) {
        self.spread(
            NEW_SET_ELEMENTS,
            table,
            set,
            elements.into_iter().map(|one| move |list: &mut Attributes| one.write(list)),
        );
    }

    /// Removes elements from a set; the batch fails when one is not there.
    pub fn delete_elements<'e>(&mut self, table: &str, set: &str, keys: impl IntoIterator<Item = &'e [u8]>) {
        self.spread(
            DELETE_SET_ELEMENTS,
            table,
            set,
            keys.into_iter().map(|key| move |list: &mut Attributes| Element { key, data: None }.write(list)),
        );
    }

    /// Adds ranges, from a key to a key, to a set of ranges.
    pub fn add_ranges<'e>(
        &mut self,
        table: &str,
        set: &str,
        ranges: impl IntoIterator<Item = (&'e [u8], &'e [u8])>,
    ) {
        self.spread(NEW_SET_ELEMENTS, table, set, ranges.into_iter().map(range));
    }

    /// Removes ranges from a set of ranges; the batch fails when one is not there.
    pub fn delete_ranges<'e>(
        &mut self,
        table: &str,
        set: &str,
        ranges: impl IntoIterator<Item = (&'e [u8], &'e [u8])>,
    ) {
        self.spread(DELETE_SET_ELEMENTS, table, set, ranges.into_iter().map(range));
    }

    fn spread<W: FnOnce(&mut Attributes)>(
        &mut self,
        kind: u16,
        table: &str,
        set: &str,
        elements: impl Iterator<Item = W>,
    ) {
        let mut list = Attributes::default();
        for write in elements {
            let mut one = Attributes::default();
            write(&mut one);
            if list.len() + one.len() > VALUE_LIMIT_BYTES {
                self.elements(kind, table, set, std::mem::take(&mut list));
            }
            list.append(one);
        }
        self.elements(kind, table, set, list);
    }

    fn elements(&mut self, kind: u16, table: &str, set: &str, list: Attributes) {
        if list.is_empty() {
            return;
        }
        let flags = if kind == NEW_SET_ELEMENTS { CREATE } else { 0 };
        self.message(kind, flags, |a| {
            a.text(1, table);
            a.text(2, set);
            a.nest(3, |elements| elements.append(list));
        });
    }
}

fn range<'e>((from, to): (&'e [u8], &'e [u8])) -> impl FnOnce(&mut Attributes) + use<'e> {
    move |list| {
        list.nest(1, |element| {
            element.nest(1, |key| key.raw(1, from));
            element.nest(10, |key| key.raw(1, to));
        });
    }
}

/// The number by which the program `nft` knows a list of fields.
fn types(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |all, field| all << TYPE_BITS | *field as u32)
}

fn room_bytes(fields: &[Field]) -> u32 {
    fields.iter().map(|_| FIELD_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages_for(count: usize, key_bytes: usize) -> Result<usize, std::io::Error> {
        let keys: Vec<Vec<u8>> = (0..count).map(|_| vec![7; key_bytes]).collect();
        let mut batch = Batch::new();
        batch.add_elements("t", "s", keys.iter().map(|key| Element { key, data: None }));
        batch.finish().map(|(bytes, _)| crate::message::messages(&bytes).count() - 2)
    }

    #[test]
    fn elements_are_spread_over_messages() {
        let count = |count, key_bytes| messages_for(count, key_bytes).expect("they fit");
        assert_eq!((count(0, 4), count(1, 4)), (0, 1));
        // An element with a key of four bytes takes sixteen; 4095 of them fit.
        assert_eq!((count(4095, 4), count(4096, 4), count(100_000, 4)), (1, 2, 25));
        assert_eq!(count(3, 40_000), 3);
    }

    #[test]
    fn an_element_that_fits_no_message_is_an_error() {
        let error = messages_for(1, 65_530).expect_err("too long").to_string();
        assert_eq!(error, "an attribute of 65536 bytes is too long for netlink");
    }
}
