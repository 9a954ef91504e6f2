//! How history leaves the file, in small transactions between the commits, oldest first; and how the file gives back the
//! space that history took.
//!
//! A change's predecessor becomes unreachable when the change itself is forgotten; so forgetting a change
//! removes its predecessor's record, and its own where it is a deletion. Current values always stay.

use redb::{Database, ReadableDatabase, ReadableTable, Table};

use super::layout::{COUNTERS, Counters, HISTORY, MARKS, Record, damaged, storage_error};
use crate::types::{Error, Revision};

/// Changes forgotten in one transaction: some milliseconds, which writers wait.
const STEP_CHANGES: u64 = 1000;
/// A file of so many bytes is never too large.
const SMALL_FILE_BYTES: u64 = 32 << 20;
/// How much larger than its records a file may be. Pages are half full at worst, and the engine's own tables come on top.
const LOOSE: u64 = 3;

/// Forgets changes up to `upto`, and no more than a step's worth. With `enough_bytes`, stops when the
/// history is as small as that.
pub(super) fn step(db: &Database, upto: Revision, enough_bytes: Option<u64>) -> Result<Counters, Error> {
    let txn = db.begin_write().map_err(storage_error)?;
    let mut counters = Counters::load(&txn.open_table(COUNTERS).map_err(storage_error)?)?;
    {
        let mut history = txn.open_table(HISTORY).map_err(storage_error)?;
        let last = upto.min(counters.revision).min(counters.oldest.saturating_add(STEP_CHANGES));
        while counters.oldest < last && enough_bytes.is_none_or(|enough| counters.history_bytes > enough) {
            forget(&mut history, &mut counters)?;
        }
        counters.save(&txn)?;
        let mut marks = txn.open_table(MARKS).map_err(storage_error)?;
        while marks
            .first()
            .map_err(storage_error)?
            .is_some_and(|(_, revision)| revision.value() < counters.oldest)
        {
            marks.pop_first().map_err(storage_error)?;
        }
    }
    txn.commit().map_err(storage_error)?;
    Ok(counters)
}

/// Forgets the oldest change.
fn forget(history: &mut Table<'_, u64, &'static [u8]>, counters: &mut Counters) -> Result<(), Error> {
    let revision = counters.oldest + 1;
    let (bytes, previous, deletion) = {
        let found = history.get(revision).map_err(storage_error)?;
        let found = found.ok_or_else(|| damaged(&format!("revision {revision} is missing")))?;
        let record = Record::decode(revision, found.value())?;
        (found.value().len() as u64, record.previous, record.deletion)
    };
    let unreachable = [Some(previous).filter(|previous| *previous != 0), deletion.then_some(revision)];
    for gone in unreachable.into_iter().flatten() {
        let freed = history.remove(gone).map_err(storage_error)?.map_or(0, |record| record.value().len());
        counters.kept_bytes = counters.kept_bytes.saturating_sub(freed as u64);
    }
    counters.history_bytes = counters.history_bytes.saturating_sub(bytes);
    counters.oldest = revision;
    Ok(())
}

/// What of history is old enough to be forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// The changes up to this revision.
    Upto(Revision),
    /// Nothing yet: the next change was made at this time, in milliseconds since the epoch.
    NothingBefore(u64),
}

/// What was made at `time_ms` or before and is not forgotten.
pub(super) fn old_at(db: &Database, counters: &Counters, time_ms: u64) -> Result<Old, Error> {
    if counters.written_ms <= time_ms {
        return Ok(Old::Upto(counters.revision));
    }
    let txn = db.begin_read().map_err(storage_error)?;
    let marks = txn.open_table(MARKS).map_err(storage_error)?;
    let mut older = marks.range(..=time_ms).map_err(storage_error)?;
    let upto = older.next_back().transpose().map_err(storage_error)?.map(|(_, revision)| revision.value());
    if let Some(upto) = upto.filter(|upto| *upto > counters.oldest) {
        return Ok(Old::Upto(upto));
    }
    for younger in marks.range(time_ms.saturating_add(1)..).map_err(storage_error)? {
        let (at, revision) = younger.map_err(storage_error)?;
        if revision.value() > counters.oldest {
            return Ok(Old::NothingBefore(at.value()));
        }
    }
    Ok(Old::NothingBefore(counters.written_ms))
}

/// Whether a file of `size_bytes` holds so little that it is worth moving what it holds.
pub(super) fn is_loose(size_bytes: u64, counters: &Counters) -> bool {
    size_bytes > SMALL_FILE_BYTES.max(counters.kept_bytes.saturating_mul(LOOSE))
}

/// Moves what the file holds to its front and cuts the rest off. Takes about as long as writing what it holds.
pub(super) fn shrink(db: &mut Database) -> Result<(), Error> {
    match db.compact() {
        Ok(_) => Ok(()),
        Err(redb::CompactionError::Storage(error)) => Err(storage_error(error)),
        Err(other) => Err(Error::Io(other.to_string().into())),
    }
}
