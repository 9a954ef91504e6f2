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
