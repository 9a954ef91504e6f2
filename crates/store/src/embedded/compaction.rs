//! How history leaves the file: in small transactions between the commits, oldest first.
//!
//! A change's predecessor becomes unreachable when the change itself is forgotten; so forgetting a change
//! removes its predecessor's record, and its own where it is a deletion. Current values always stay.

use redb::{Database, ReadableTable};

use super::layout::{Counters, HISTORY, MARKS, META, Record, damaged, storage_error};
use crate::types::{Error, Revision};

/// Changes forgotten in one transaction: some milliseconds, which writers wait.
const STEP_CHANGES: u64 = 1000;

/// Forgets changes up to `upto`, and no more than a step's worth. With `enough_bytes`, stops when the
/// history is as small as that.
pub(super) fn step(db: &Database, upto: Revision, enough_bytes: Option<u64>) -> Result<Counters, Error> {
    let txn = db.begin_write().map_err(storage_error)?;
    let mut counters;
    {
        let mut meta = txn.open_table(META).map_err(storage_error)?;
        let mut history = txn.open_table(HISTORY).map_err(storage_error)?;
        counters = Counters::load(&meta)?;
        let last = upto.min(counters.revision).min(counters.oldest.saturating_add(STEP_CHANGES));
        while counters.oldest < last && enough_bytes.is_none_or(|enough| counters.history_bytes > enough) {
            let revision = counters.oldest + 1;
            let freed = forget(&mut history, revision)?;
            counters.history_bytes = counters.history_bytes.saturating_sub(freed);
            counters.oldest = revision;
        }
        counters.save(&mut meta)?;
        let mut marks = txn.open_table(MARKS).map_err(storage_error)?;
        marks.retain(|_, revision| revision >= counters.oldest).map_err(storage_error)?;
    }
    txn.commit().map_err(storage_error)?;
    Ok(counters)
}

/// Forgets one change; returns the size of the change.
fn forget(history: &mut redb::Table<'_, u64, &'static [u8]>, revision: Revision) -> Result<u64, Error> {
    let (bytes, previous, deletion) = {
        let found = history.get(revision).map_err(storage_error)?;
        let found = found.ok_or_else(|| damaged(&format!("revision {revision} is missing")))?;
        let record = Record::decode(revision, found.value())?;
        (found.value().len() as u64, record.previous, record.deletion)
    };
    if previous != 0 {
        history.remove(previous).map_err(storage_error)?;
    }
    if deletion {
        history.remove(revision).map_err(storage_error)?;
    }
    Ok(bytes)
}

/// The last revision that was current at `time_ms` or before: everything up to it is at least that old.
pub(super) fn current_at(db: &Database, time_ms: u64) -> Result<Option<Revision>, Error> {
    use redb::ReadableDatabase;
    let txn = db.begin_read().map_err(storage_error)?;
    let marks = txn.open_table(MARKS).map_err(storage_error)?;
    let mut older = marks.range(..=time_ms).map_err(storage_error)?;
    let newest = older.next_back().transpose().map_err(storage_error)?;
    Ok(newest.map(|(_, revision)| revision.value()))
}
