//! Files of the format before, whose records carry no checksum, become files of today's format when they are opened:
//! in one transaction, so that a crash leaves the one or the other.

use redb::{Database, ReadableDatabase, ReadableTable};

use super::layout::{Counters, FORMAT, HISTORY, META, META_FORMAT, Record, damaged, storage_error};
use crate::types::Error;

/// The format that is upgraded.
pub(super) const FROM: u64 = 1;

/// Rewrites every record.
pub(super) fn run(db: &Database) -> Result<(), Error> {
    tracing::info!("the data file is brought up to format {FORMAT}");
    let before = db.begin_read().map_err(storage_error)?;
    let before = before.open_table(HISTORY).map_err(storage_error)?;
    let txn = db.begin_write().map_err(storage_error)?;
    {
        let mut meta = txn.open_table(META).map_err(storage_error)?;
        let mut history = txn.open_table(HISTORY).map_err(storage_error)?;
        let mut counters = Counters::load(&meta)?;
        counters.history_bytes = 0;
        for found in before.iter().map_err(storage_error)? {
            let (revision, bytes) = found.map_err(storage_error)?;
            let revision = revision.value();
            let record = parse(bytes.value())
                .ok_or_else(|| damaged(&format!("revision {revision}: its record cannot be read")))?;
            let record = record.encode(revision);
            if revision > counters.oldest {
                counters.history_bytes += record.len() as u64;
            }
            history.insert(revision, record.as_slice()).map_err(storage_error)?;
        }
        counters.save(&mut meta)?;
        meta.insert(META_FORMAT, FORMAT).map_err(storage_error)?;
    }
    txn.commit().map_err(storage_error)
}

/// A record of format 1: flags, create revision, previous revision, the key's length, key, value.
fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    let (deletion, rest) = bytes.split_first()?;
    let (create, rest) = rest.split_first_chunk()?;
    let (previous, rest) = rest.split_first_chunk()?;
    let (key_len, rest) = rest.split_first_chunk()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    Some(Record {
        deletion: *deletion != 0,
        create_revision: u64::from_le_bytes(*create),
        previous: u64::from_le_bytes(*previous),
        key: std::str::from_utf8(key).ok()?,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::super::layout::{KEYS, META_HISTORY_BYTES, META_REVISION, open};
    use super::*;

    fn old(deletion: bool, create: u64, previous: u64, key: &str, value: &[u8]) -> Vec<u8> {
        let mut out = vec![u8::from(deletion)];
        out.extend(create.to_le_bytes());
        out.extend(previous.to_le_bytes());
        out.extend((key.len() as u32).to_le_bytes());
        out.extend(key.as_bytes());
        out.extend(value);
        out
    }

    #[test]
    fn a_file_of_the_format_before_is_taken_over_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        {
            let db = Database::create(&path).unwrap();
            let txn = db.begin_write().unwrap();
            {
                let mut history = txn.open_table(HISTORY).unwrap();
                history.insert(2, old(false, 2, 0, "/a", b"one").as_slice()).unwrap();
                history.insert(3, old(false, 2, 2, "/a", b"two").as_slice()).unwrap();
                txn.open_table(KEYS).unwrap().insert("/a", (2, 3, 0)).unwrap();
                txn.open_table(super::super::layout::EXPIRY).unwrap();
                txn.open_table(super::super::layout::MARKS).unwrap();
                let mut meta = txn.open_table(META).unwrap();
                meta.insert(META_FORMAT, FROM).unwrap();
                meta.insert(META_REVISION, 3).unwrap();
                meta.insert(META_HISTORY_BYTES, 52).unwrap();
            }
            txn.commit().unwrap();
        }
        for _ in 0..2 {
            let db = open(&path, 1 << 20).unwrap();
            let txn = db.begin_read().unwrap();
            let history = txn.open_table(HISTORY).unwrap();
            let bytes = history.get(3).unwrap().unwrap();
            let record = Record::decode(3, bytes.value()).unwrap();
            let expected =
                Record { deletion: false, create_revision: 2, previous: 2, key: "/a", value: b"two" };
            assert_eq!(record, expected);
            let counters = Counters::load(&txn.open_table(META).unwrap()).unwrap();
            assert_eq!((counters.revision, counters.history_bytes), (3, 84));
        }
    }
}
