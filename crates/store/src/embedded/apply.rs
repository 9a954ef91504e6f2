//! One write inside a transaction: checks what it expects, and changes the tables. No fsync, no waiting.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, Table, WriteTransaction};

use super::layout::{COUNTERS, Counters, EXPIRY, HISTORY, KEYS, MARKS, Record, storage_error};
use super::read::value_at;
use super::write::{Answer, Op};
use crate::types::{Change, Error, Expect, KeyValue, Revision};

/// The shortest interval between two marks of the time.
const MARK_EVERY_MS: u64 = 1_000;

/// The tables of one write transaction, and what it has done so far.
pub(super) struct Writer<'t> {
    keys: Table<'t, &'static str, (u64, u64, u64)>,
    history: Table<'t, u64, &'static [u8]>,
    expiry: Table<'t, (u64, &'static str), ()>,
    counters: Counters,
    now_ms: u64,
    changes: Vec<Arc<Change>>,
}

/// What a transaction did.
pub(super) struct Applied {
    pub changes: Vec<Arc<Change>>,
    pub counters: Counters,
    /// When the next key expires, in milliseconds since the epoch.
    pub next_expiry_ms: Option<u64>,
}

impl<'t> Writer<'t> {
    pub fn new(txn: &'t WriteTransaction, now_ms: u64) -> Result<Self, Error> {
        let counters = Counters::load(&txn.open_table(COUNTERS).map_err(storage_error)?)?;
        Ok(Self {
            keys: txn.open_table(KEYS).map_err(storage_error)?,
            history: txn.open_table(HISTORY).map_err(storage_error)?,
            expiry: txn.open_table(EXPIRY).map_err(storage_error)?,
            counters,
            now_ms,
            changes: Vec::new(),
        })
    }

    /// Evaluates one write. `Ok(Answer::Rejected)` changed nothing; `Err` spoils the transaction.
    pub fn apply(&mut self, op: &Op) -> Result<Answer, Error> {
        match op {
            Op::Put { key, value, expect, ttl_s } => self.put(key, value, *expect, *ttl_s),
            Op::Delete { key, expect } => self.delete(key, *expect),
            Op::Compact { .. } | Op::Close => Ok(Answer::Done),
        }
    }

    /// Deletes what has expired, at most `limit` keys.
    pub fn expire(&mut self, limit: usize) -> Result<(), Error> {
        let mut due: Vec<Arc<str>> = Vec::new();
        for found in self.expiry.range(..=(self.now_ms, "\u{10ffff}")).map_err(storage_error)?.take(limit) {
            due.push(found.map_err(storage_error)?.0.value().1.into());
        }
        for key in &due {
            self.delete(key, Expect::Anything)?;
        }
        Ok(())
    }

    /// Writes the counters and returns what was done. The transaction must still be committed.
    pub fn finish(mut self, txn: &WriteTransaction) -> Result<Applied, Error> {
        let first = self.expiry.first().map_err(storage_error)?;
        let next_expiry_ms = first.map(|(at, _)| at.value().0);
        if !self.changes.is_empty() {
            self.mark(txn)?;
            self.counters.save(txn)?;
        }
        Ok(Applied { changes: std::mem::take(&mut self.changes), counters: self.counters, next_expiry_ms })
    }

    fn put(
        &mut self,
        key: &Arc<str>,
        value: &Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
    ) -> Result<Answer, Error> {
        let place = self.place(key)?;
        let previous = self.previous(key, place)?;
        if !met(expect, previous.as_ref()) {
            return Ok(Answer::Rejected(Error::Conflict { current: previous }));
        }
        let revision = self.counters.revision + 1;
        let create_revision = previous.as_ref().map_or(revision, |p| p.create_revision);
        let expires_ms = ttl_s.map_or(0, |s| self.now_ms.saturating_add(s.saturating_mul(1000)));
        self.forget_expiry(key, place)?;
        if expires_ms != 0 {
            self.expiry.insert((expires_ms, key.as_ref()), ()).map_err(storage_error)?;
        }
        self.keys.insert(key.as_ref(), (create_revision, revision, expires_ms)).map_err(storage_error)?;
        self.record(key, Some(value.clone()), create_revision, previous)?;
        Ok(Answer::Written(KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision,
            mod_revision: revision,
        }))
    }

    fn delete(&mut self, key: &Arc<str>, expect: Expect) -> Result<Answer, Error> {
        let place = self.place(key)?;
        let previous = self.previous(key, place)?;
        if !met(expect, previous.as_ref()) {
            return Ok(Answer::Rejected(Error::Conflict { current: previous }));
        }
        let Some(gone) = previous else {
            return Ok(Answer::Deleted(None, self.counters.revision));
        };
        self.forget_expiry(key, place)?;
        self.keys.remove(key.as_ref()).map_err(storage_error)?;
        self.record(key, None, gone.create_revision, Some(gone.clone()))?;
        Ok(Answer::Deleted(Some(gone), self.counters.revision))
    }

    fn place(&self, key: &str) -> Result<Option<(u64, u64, u64)>, Error> {
        Ok(self.keys.get(key).map_err(storage_error)?.map(|g| g.value()))
    }

    fn previous(&self, key: &Arc<str>, place: Option<(u64, u64, u64)>) -> Result<Option<KeyValue>, Error> {
        place.map(|(_, revision, _)| value_at(&self.history, key.clone(), revision)).transpose()
    }

    fn forget_expiry(&mut self, key: &str, place: Option<(u64, u64, u64)>) -> Result<(), Error> {
        if let Some((_, _, expires_ms)) = place
            && expires_ms != 0
        {
            self.expiry.remove((expires_ms, key)).map_err(storage_error)?;
        }
        Ok(())
    }

    /// Adds the next revision to the history.
    fn record(
        &mut self,
        key: &Arc<str>,
        value: Option<Bytes>,
        create_revision: Revision,
        previous: Option<KeyValue>,
    ) -> Result<(), Error> {
        let revision = self.counters.revision + 1;
        let bytes = Record {
            deletion: value.is_none(),
            time_ms: self.now_ms,
            create_revision,
            previous: previous.as_ref().map_or(0, |p| p.mod_revision),
            key,
            value: value.as_deref().unwrap_or_default(),
        }
        .encode(revision);
        self.history.insert(revision, bytes.as_slice()).map_err(storage_error)?;
        self.counters.revision = revision;
        self.counters.history_bytes += bytes.len() as u64;
        self.counters.kept_bytes += bytes.len() as u64;
        self.changes.push(Arc::new(Change { revision, key: key.clone(), value, create_revision, previous }));
        Ok(())
    }

    /// Records the revision that the previous transaction reached, so that history's age is known.
    fn mark(&mut self, txn: &WriteTransaction) -> Result<(), Error> {
        let written_ms = std::mem::replace(&mut self.counters.written_ms, self.now_ms);
        let mut marks = txn.open_table(MARKS).map_err(storage_error)?;
        let newest = marks.last().map_err(storage_error)?.map_or(0, |(at, _)| at.value());
        let goes_on = written_ms >= newest.saturating_add(MARK_EVERY_MS);
        let resumes = self.now_ms >= written_ms.saturating_add(MARK_EVERY_MS);
        if goes_on || resumes {
            let before = self.counters.revision - self.changes.len() as u64;
            marks.insert(written_ms, before).map_err(storage_error)?;
        }
        Ok(())
    }
}

fn met(expect: Expect, current: Option<&KeyValue>) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => current.is_none(),
        Expect::Revision(revision) => current.is_some_and(|c| c.mod_revision == revision),
    }
}
