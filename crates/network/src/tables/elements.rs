//! Elements of sets, to be written and as they were read.

use std::io;

use nft::{Batch, Data, Element};

/// Removes elements from a set.
pub(crate) fn remove<K: AsRef<[u8]>>(
    batch: &mut Batch,
    table: &str,
    set: &str,
    keys: impl Iterator<Item = K>,
) {
    let keys: Vec<K> = keys.collect();
    batch.delete_elements(table, set, keys.iter().map(AsRef::as_ref));
}

/// Adds elements to a set, or pairs to a map.
pub(crate) fn add<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    batch: &mut Batch,
    table: &str,
    set: &str,
    pairs: impl Iterator<Item = (K, Option<V>)>,
) {
    let pairs: Vec<(K, Option<V>)> = pairs.collect();
    let elements = pairs.iter().map(|(key, value)| Element {
        key: key.as_ref(),
        data: value.as_ref().map(|value| Data::Value(value.as_ref())),
    });
    batch.add_elements(table, set, elements);
}

/// A table or a set that is not there has nothing.
pub(crate) fn tolerate_absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The number that begins some bytes.
pub(crate) fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}
