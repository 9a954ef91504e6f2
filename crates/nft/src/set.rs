//! Sets and maps, and their elements: any number of these in one transaction.

use crate::attributes::VALUE_LIMIT_BYTES;
use crate::batch::{CREATE, NEW_SET, NEW_SET_ELEMENTS};
use crate::{Attributes, Batch};

/// The set's elements carry data: it is a map.
const FLAG_MAP: u32 = 8;
/// `NFT_DATA_VERDICT`: the data are verdicts.
const TYPE_VERDICT: u32 = 0xffff_ff00;
/// `NFT_JUMP`.
const JUMP: u32 = -3i32 as u32;

/// A set or a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set<'a> {
    pub table: &'a str,
    pub name: &'a str,
    pub key_bytes: u32,
    /// Whether the set is a map from keys to verdicts.
    pub verdicts: bool,
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
}

impl Element<'_> {
    fn write(&self, list: &mut Attributes) {
        list.nest(1, |element| {
            element.nest(1, |key| key.raw(1, self.key));
            match self.data {
                None => {}
                Some(Data::Value(value)) => element.nest(2, |data| data.raw(1, value)),
                Some(Data::Jump(chain)) => element.nest(2, |data| {
                    data.nest(2, |verdict| {
                        verdict.number(1, JUMP);
                        verdict.text(2, chain);
                    });
                }),
            }
        });
    }
}

impl Batch {
    /// Makes a set, empty. `id` distinguishes the set from others made in this batch.
    pub fn new_set(&mut self, set: Set<'_>, id: u32) {
        self.message(NEW_SET, CREATE, |a| {
            a.text(1, set.table);
            a.text(2, set.name);
            a.number(3, if set.verdicts { FLAG_MAP } else { 0 });
            a.number(4, 0);
            a.number(5, set.key_bytes);
            if set.verdicts {
                a.number(6, TYPE_VERDICT);
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
        let mut list = Attributes::default();
        for element in elements {
            let mut one = Attributes::default();
            element.write(&mut one);
            if list.len() + one.len() > VALUE_LIMIT_BYTES {
                self.elements(table, set, std::mem::take(&mut list));
            }
            list.append(one);
        }
        self.elements(table, set, list);
    }

    fn elements(&mut self, table: &str, set: &str, list: Attributes) {
        if list.is_empty() {
            return;
        }
        self.message(NEW_SET_ELEMENTS, CREATE, |a| {
            a.text(1, table);
            a.text(2, set);
            a.nest(3, |elements| elements.append(list));
        });
    }
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
