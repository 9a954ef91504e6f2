//! When changes were made: from a time to a revision and back, by the times of the records and, for those of files that
//! were begun before there were such times, by the marks; and what became of one key.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction};

use super::layout::{Counters, FIRST_REVISION, HISTORY, KEYS, MARKS, Record, damaged, storage_error};
use super::read;
use crate::types::{Error, Moment, Revision, Version, Versions};

pub(super) fn moment(txn: &ReadTransaction, time_ms: u64) -> Result<Moment, Error> {
    let counters = read::counters(txn)?;
    if time_ms >= counters.written_ms {
        return Ok(Moment { revision: counters.revision, time_ms });
    }
    let marks = txn.open_table(MARKS).map_err(storage_error)?;
    let mark =
        marks.range(..=time_ms).map_err(storage_error)?.next_back().transpose().map_err(storage_error)?;
    let marked = mark.map_or(FIRST_REVISION, |(_, revision)| revision.value());
    let mut revision = marked.max(counters.oldest);
    // The mark is the last one before: a second's changes follow at most.
    let history = txn.open_table(HISTORY).map_err(storage_error)?;
    for found in history.range(revision + 1..).map_err(storage_error)? {
        let (next, bytes) = found.map_err(storage_error)?;
        let made_ms = Record::decode(next.value(), bytes.value())?.time_ms;
        if made_ms == 0 || made_ms > time_ms {
            break;
        }
        revision = next.value();
    }
    // What was there before the oldest change that is kept is not known.
    if marked < counters.oldest && revision == counters.oldest {
        return Err(Error::Compacted { asked: marked, oldest: counters.oldest });
    }
    Ok(Moment { revision, time_ms })
}

/// The first state that is kept, at the end of its time as far as that is known.
pub(super) fn oldest(txn: &ReadTransaction) -> Result<Moment, Error> {
    let counters = read::counters(txn)?;
    let times = Times::read(txn, &counters)?;
    Ok(Moment { revision: counters.oldest, time_ms: times.of(counters.oldest) })
}

/// What is known of changes whose records do not say their time: each was made at the time of the first mark that
/// includes it, or some seconds before.
struct Times {
    /// Revisions with their marks' times, ascending in both.
    marks: Vec<(Revision, u64)>,
    last_ms: u64,
}

impl Times {
    fn read(txn: &ReadTransaction, counters: &Counters) -> Result<Self, Error> {
        let table = txn.open_table(MARKS).map_err(storage_error)?;
        let mut marks = Vec::new();
        for mark in table.range(0..).map_err(storage_error)? {
            let (time, revision) = mark.map_err(storage_error)?;
            marks.push((revision.value(), time.value()));
        }
        Ok(Self { marks, last_ms: counters.written_ms })
    }

    fn of(&self, revision: Revision) -> u64 {
        let first = self.marks.partition_point(|(marked, _)| *marked < revision);
        self.marks.get(first).map_or(self.last_ms, |(_, time_ms)| *time_ms)
    }
}

pub(super) fn versions(txn: &ReadTransaction, key: &Arc<str>, limit: usize) -> Result<Versions, Error> {
    let counters = read::counters(txn)?;
    // Only records of files that were begun before there were times need the marks.
    let mut times = None;
    let history = txn.open_table(HISTORY).map_err(storage_error)?;
    let present =
        txn.open_table(KEYS).map_err(storage_error)?.get(&**key).map_err(storage_error)?.map(|g| g.value().1);
    let mut next = match present {
        Some(revision) => revision,
        None => last_change_before(&history, key, Revision::MAX, counters.oldest)?,
    };
    let mut versions = Vec::new();
    // The version before the oldest kept change is kept, and none before that one.
    while next != 0 && versions.len() < limit {
        let revision = next;
        let bytes = history.get(revision).map_err(storage_error)?;
        let bytes = bytes.ok_or_else(|| damaged(&format!("revision {revision} of {key} is missing")))?;
        let record = Record::decode(revision, bytes.value())?;
        if record.key != &**key {
            return Err(damaged(&format!("revision {revision} is not one of {key:?}")));
        }
        let value = (!record.deletion).then(|| Bytes::copy_from_slice(record.value));
        let time_ms = match (record.time_ms, &mut times) {
            (0, Some(times)) => Times::of(times, revision),
            (0, none) => none.insert(Times::read(txn, &counters)?).of(revision),
            (time_ms, _) => time_ms,
        };
        versions.push(Version { revision, time_ms, value });
        next = record.previous;
        if revision <= counters.oldest {
            break;
        }
        // A key that was made anew goes on with its end before.
        if next == 0 {
            next = last_change_before(&history, key, revision, counters.oldest)?;
        }
    }
    Ok(Versions { versions, more: next != 0 })
}

/// The key's last change before `before` that is not forgotten; 0 for none. Reads the history back to there.
fn last_change_before(
    history: &ReadOnlyTable<u64, &'static [u8]>,
    key: &str,
    before: Revision,
    oldest: Revision,
) -> Result<Revision, Error> {
    for found in history.range(oldest + 1..before).map_err(storage_error)?.rev() {
        let (revision, bytes) = found.map_err(storage_error)?;
        if Record::decode(revision.value(), bytes.value())?.key == key {
            return Ok(revision.value());
        }
    }
    Ok(0)
}
