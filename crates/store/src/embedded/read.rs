//! Reading one committed state: a key, a range now or in the past, the changes after a revision. Blocks on
//! the disk where pages are not in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::layout::{
    COUNTERS, Counters, EXPIRY, FIRST_REVISION, HISTORY, KEYS, Record, damaged, storage_error,
};
use crate::types::{Change, Error, KeyValue, ListPage, ListRange, Revision};

/// Bytes after which a batch of changes is full.
const BATCH_BYTES: usize = 1 << 20;

pub(super) fn get(txn: &ReadTransaction, key: &str) -> Result<(Option<KeyValue>, Revision), Error> {
    let revision = counters(txn)?.revision;
    let keys = txn.open_table(KEYS).map_err(storage_error)?;
    let Some(found) = keys.get(key).map_err(storage_error)?.map(|g| g.value()) else {
        return Ok((None, revision));
    };
    let history = txn.open_table(HISTORY).map_err(storage_error)?;
    Ok((Some(value_at(&history, key.into(), found.1)?), revision))
}

/// The store's numbers as of this state.
pub(super) fn counters(txn: &ReadTransaction) -> Result<Counters, Error> {
    Counters::load(&txn.open_table(COUNTERS).map_err(storage_error)?)
}

/// When the next key expires, in milliseconds since the epoch.
pub(super) fn next_expiry_ms(txn: &ReadTransaction) -> Result<Option<u64>, Error> {
    let expiry = txn.open_table(EXPIRY).map_err(storage_error)?;
    Ok(expiry.first().map_err(storage_error)?.map(|(at, _)| at.value().0))
}

/// The key's value as its change at `revision` left it.
pub(super) fn value_at(
    history: &impl ReadableTable<u64, &'static [u8]>,
    key: Arc<str>,
    revision: Revision,
) -> Result<KeyValue, Error> {
    let bytes = history
        .get(revision)
        .map_err(storage_error)?
        .ok_or_else(|| damaged(&format!("revision {revision} of {key} is missing")))?;
    let record = Record::decode(revision, bytes.value())?;
    if record.deletion || record.key != &*key {
        return Err(damaged(&format!(
            "revision {revision} is not one of {key:?}, though the key's entry says so"
        )));
    }
    Ok(KeyValue {
        key,
        value: Bytes::copy_from_slice(record.value),
        create_revision: record.create_revision,
        mod_revision: revision,
    })
}

pub(super) fn list(txn: &ReadTransaction, range: &ListRange) -> Result<ListPage, Error> {
    let counters = counters(txn)?;
    let at = range.at.unwrap_or(counters.revision);
    check_revision(at, &counters)?;
    let history = txn.open_table(HISTORY).map_err(storage_error)?;
    let past = changed_since(&history, range, at, counters.revision)?;
    let keys = txn.open_table(KEYS).map_err(storage_error)?;

    let from = if range.after.as_str() >= range.prefix.as_str() && !range.after.is_empty() {
        Bound::Excluded(range.after.as_str())
    } else {
        Bound::Included(range.prefix.as_str())
    };
    let mut past = past.iter().peekable();
    let mut page = Page { history: &history, limit: range.limit, items: Vec::new(), more: false };
    for found in keys.range::<&str>((from, Bound::Unbounded)).map_err(storage_error)? {
        let (key, place) = found.map_err(storage_error)?;
        let key = key.value();
        if !key.starts_with(&range.prefix) || page.more {
            break;
        }
        // Keys that were there then and are gone now come from the past alone.
        while let Some((gone, then)) = past.next_if(|(past_key, _)| past_key.as_str() < key) {
            page.add(gone, *then)?;
        }
        let then = past.next_if(|(past_key, _)| past_key.as_str() == key).map(|(_, then)| *then);
        page.add(key, then.unwrap_or(place.value().1))?;
    }
    for (gone, then) in past {
        page.add(gone, *then)?;
    }
    Ok(ListPage { items: page.items, revision: at, more: page.more })
}

struct Page<'t> {
    history: &'t ReadOnlyTable<u64, &'static [u8]>,
    limit: usize,
    items: Vec<KeyValue>,
    more: bool,
}

impl Page<'_> {
    /// Adds the key as of its change at `revision`; 0 stands for absent.
    fn add(&mut self, key: &str, revision: Revision) -> Result<(), Error> {
        if revision == 0 || self.more {
            return Ok(());
        }
        if self.limit > 0 && self.items.len() == self.limit {
            self.more = true;
            return Ok(());
        }
        self.items.push(value_at(self.history, key.into(), revision)?);
        Ok(())
    }
}

/// For each key of the range that changed after `at`: the revision it had then, 0 for absent.
fn changed_since(
    history: &ReadOnlyTable<u64, &'static [u8]>,
    range: &ListRange,
    at: Revision,
    now: Revision,
) -> Result<BTreeMap<String, Revision>, Error> {
    let mut changed = BTreeMap::new();
    if at >= now {
        return Ok(changed);
    }
    for found in history.range(at + 1..).map_err(storage_error)? {
        let (revision, bytes) = found.map_err(storage_error)?;
        let record = Record::decode(revision.value(), bytes.value())?;
        if record.key.starts_with(&range.prefix)
            && record.key > range.after.as_str()
            && !changed.contains_key(record.key)
        {
            changed.insert(record.key.to_owned(), record.previous);
        }
    }
    Ok(changed)
}

/// Whether history reaches back to `asked`, and time forward.
pub(super) fn check_revision(asked: Revision, counters: &Counters) -> Result<(), Error> {
    // 0 and the first revision both name the empty store.
    if asked.max(FIRST_REVISION) < counters.oldest {
        return Err(Error::Compacted { asked, oldest: counters.oldest });
    }
    if asked > counters.revision {
        return Err(Error::Future { asked, current: counters.revision });
    }
    Ok(())
}

/// At most `limit` changes that follow `position`, without gaps, fewer where they are large.
pub(super) fn changes_after(
    txn: &ReadTransaction,
    position: Revision,
    limit: usize,
) -> Result<Vec<Arc<Change>>, Error> {
    check_revision(position, &counters(txn)?)?;
    let history = txn.open_table(HISTORY).map_err(storage_error)?;
    let mut changes = Vec::new();
    let mut bytes = 0;
    for found in history.range(position.max(FIRST_REVISION) + 1..).map_err(storage_error)?.take(limit) {
        let (revision, record) = found.map_err(storage_error)?;
        let revision = revision.value();
        bytes += record.value().len();
        changes.push(Arc::new(change(&history, revision, &Record::decode(revision, record.value())?)?));
        if bytes > BATCH_BYTES {
            break;
        }
    }
    Ok(changes)
}

fn change(
    history: &impl ReadableTable<u64, &'static [u8]>,
    revision: Revision,
    record: &Record<'_>,
) -> Result<Change, Error> {
    let key: Arc<str> = record.key.into();
    let previous = match record.previous {
        0 => None,
        before => Some(value_at(history, key.clone(), before)?),
    };
    Ok(Change {
        revision,
        key,
        value: (!record.deletion).then(|| Bytes::copy_from_slice(record.value)),
        create_revision: record.create_revision,
        previous,
    })
}
