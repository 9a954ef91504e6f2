//! Files of earlier formats become files of today's when they are opened: in one transaction, so that a crash leaves the
//! one or the other. Records of format 1 carry no checksum; up to format 2 each counter was a row of `META`;
//! up to format 3 records do not say when they were made.

use redb::{Database, ReadableDatabase, ReadableTable, Table};

use super::layout::{Counters, FORMAT, HISTORY, META, META_FORMAT, Record, damaged, storage_error};
use crate::types::Error;

/// Brings a file of format `from`, 1 to 3, up to today's.
pub(super) fn run(db: &Database, from: u64) -> Result<(), Error> {
    tracing::info!("the data file is brought up from format {from} to {FORMAT}");
    if from == 3 {
        // Records without a time are read on.
        let txn = db.begin_write().map_err(storage_error)?;
        txn.open_table(META).map_err(storage_error)?.insert(META_FORMAT, FORMAT).map_err(storage_error)?;
        return txn.commit().map_err(storage_error);
    }
    let before = db.begin_read().map_err(storage_error)?;
    let before = before.open_table(HISTORY).map_err(storage_error)?;
    let txn = db.begin_write().map_err(storage_error)?;
    {
        let mut meta = txn.open_table(META).map_err(storage_error)?;
        let mut history = txn.open_table(HISTORY).map_err(storage_error)?;
        let mut counters = take_counters(&mut meta)?;
        for found in before.iter().map_err(storage_error)? {
            let (revision, bytes) = found.map_err(storage_error)?;
            let (revision, bytes) = (revision.value(), bytes.value());
            let mut size = bytes.len();
            if from == 1 {
                let record = parse(bytes)
                    .ok_or_else(|| damaged(&format!("revision {revision}: its record cannot be read")))?;
                let record = record.encode(revision);
                size = record.len();
                history.insert(revision, record.as_slice()).map_err(storage_error)?;
            }
            counters.kept_bytes += size as u64;
            if revision > counters.oldest {
                counters.history_bytes += size as u64;
            }
        }
        counters.save(&txn)?;
        meta.insert(META_FORMAT, FORMAT).map_err(storage_error)?;
    }
    txn.commit().map_err(storage_error)
}

/// The counters of a file up to format 2, whose rows are removed; sizes are counted anew.
fn take_counters(meta: &mut Table<'_, &'static str, u64>) -> Result<Counters, Error> {
    let fresh = Counters::default();
    let mut take = |name: &'static str, absent: u64| -> Result<u64, Error> {
        Ok(meta.remove(name).map_err(storage_error)?.map_or(absent, |number| number.value()))
    };
    take("history_bytes", 0)?;
    Ok(Counters {
        revision: take("revision", fresh.revision)?,
        oldest: take("oldest", fresh.oldest)?,
        written_ms: take("written_ms", fresh.written_ms)?,
        ..fresh
    })
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
        time_ms: 0,
        key: std::str::from_utf8(key).ok()?,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::super::layout::{COUNTERS, EXPIRY, KEYS, MARKS};
    use super::super::open::open;
    use super::*;

    /// Format 1's record.
    fn old(deletion: bool, create: u64, previous: u64, key: &str, value: &[u8]) -> Vec<u8> {
        let mut out = vec![u8::from(deletion)];
        out.extend(create.to_le_bytes());
        out.extend(previous.to_le_bytes());
        out.extend((key.len() as u32).to_le_bytes());
        out.extend(key.as_bytes());
        out.extend(value);
        out
    }

    fn today(create: u64, previous: u64, value: &[u8], revision: u64) -> Vec<u8> {
        Record { deletion: false, create_revision: create, previous, time_ms: 0, key: "/a", value }
            .encode(revision)
    }

    #[test]
    fn files_of_formats_before_are_taken_over_whole() {
        let records = [
            (1, old(false, 2, 0, "/a", b"one"), old(false, 2, 2, "/a", b"three")),
            (2, today(2, 0, b"one", 2), today(2, 2, b"three", 3)),
        ];
        for (format, first, second) in records {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data");
            {
                let db = Database::create(&path).unwrap();
                let txn = db.begin_write().unwrap();
                {
                    let mut history = txn.open_table(HISTORY).unwrap();
                    history.insert(2, first.as_slice()).unwrap();
                    history.insert(3, second.as_slice()).unwrap();
                    txn.open_table(KEYS).unwrap().insert("/a", (2, 3, 0)).unwrap();
                    txn.open_table(EXPIRY).unwrap();
                    txn.open_table(MARKS).unwrap();
                    let mut meta = txn.open_table(META).unwrap();
                    let rows = [("revision", 3), ("oldest", 2), ("history_bytes", 52), ("written_ms", 7)];
                    for (name, number) in rows.into_iter().chain([(META_FORMAT, format)]) {
                        meta.insert(name, number).unwrap();
                    }
                }
                txn.commit().unwrap();
            }
            for _ in 0..2 {
                let db = open(&path, 1 << 20).unwrap();
                let txn = db.begin_read().unwrap();
                let history = txn.open_table(HISTORY).unwrap();
                let bytes = history.get(3).unwrap().unwrap();
                assert_eq!(bytes.value(), today(2, 2, b"three", 3));
                let counters = Counters::load(&txn.open_table(COUNTERS).unwrap()).unwrap();
                let expected =
                    Counters { revision: 3, oldest: 2, history_bytes: 44, kept_bytes: 86, written_ms: 7 };
                assert_eq!(counters, expected, "format {format}");
            }
        }
    }

    #[test]
    fn records_without_a_time_are_read_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        for before in [FORMAT, 3, FORMAT] {
            let db = open(&path, 1 << 20).unwrap();
            let txn = db.begin_write().unwrap();
            let found = txn.open_table(META).unwrap().insert(META_FORMAT, before).unwrap().unwrap().value();
            assert_eq!(found, FORMAT);
            txn.commit().unwrap();
        }
    }
}
