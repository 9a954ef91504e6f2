//! What is stored, and every change since the last compaction. Pure: no lock, no clock, no waiting.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::types::{
    Change, Error, Expect, KeyValue, ListPage, ListRange, Moment, Revision, Version, Versions,
};

/// The empty store's revision, as etcd's.
pub(super) const FIRST_REVISION: Revision = 1;

pub(super) struct State {
    /// Present keys, with when they expire in milliseconds since the epoch.
    keys: BTreeMap<Arc<str>, (KeyValue, Option<u64>)>,
    /// Every change after `oldest`, in order. Those of one revision stand together.
    history: VecDeque<Arc<Change>>,
    revision: Revision,
    /// The oldest revision that can be listed or watched from.
    oldest: Revision,
    now_ms: u64,
    /// When each revision was made, ascending.
    times: BTreeMap<Revision, u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            revision: FIRST_REVISION,
            oldest: FIRST_REVISION,
            now_ms: 0,
            times: BTreeMap::new(),
        }
    }
}

impl State {
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key).map(|(held, _)| held)
    }

    pub fn size_bytes(&self) -> u64 {
        let present = self.keys.values().map(|(held, _)| held.key.len() + held.value.len());
        let past = self.history.iter().map(|c| c.key.len() + c.value.as_ref().map_or(0, Bytes::len));
        present.chain(past).map(|bytes| bytes as u64).sum()
    }

    /// Moves to `now_ms` and deletes what has expired by then: one commit a lease.
    pub fn expire(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let mut due: BTreeMap<u64, Vec<Arc<str>>> = BTreeMap::new();
        for (key, (_, expires)) in &self.keys {
            if let Some(at) = expires.filter(|at| *at <= now_ms) {
                due.entry(at).or_default().push(key.clone());
            }
        }
        for keys in due.into_values() {
            self.revision += 1;
            for key in keys {
                self.remove(&key);
            }
        }
    }

    /// `lease_ms`: expiry is put off to the next multiple.
    pub fn put(
        &mut self,
        key: &str,
        value: Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
        lease_ms: u64,
    ) -> Result<KeyValue, Error> {
        let previous = self.check(key, expect)?;
        self.revision += 1;
        let revision = self.revision;
        let key: Arc<str> = previous.as_ref().map_or_else(|| key.into(), |p| p.key.clone());
        let create_revision = previous.as_ref().map_or(revision, |p| p.create_revision);
        let written = KeyValue { key: key.clone(), value, create_revision, mod_revision: revision };
        let expires_ms = ttl_s.map(|ttl_s| {
            let exactly = self.now_ms.saturating_add(ttl_s.saturating_mul(1000));
            exactly.div_ceil(lease_ms).saturating_mul(lease_ms)
        });
        self.keys.insert(key.clone(), (written.clone(), expires_ms));
        let value = Some(written.value.clone());
        self.times.insert(revision, self.now_ms);
        self.history.push_back(Arc::new(Change { revision, key, value, create_revision, previous }));
        Ok(written)
    }

    /// The deleted key and value; the revision is then that of the deletion.
    pub fn delete(&mut self, key: &str, expect: Expect) -> Result<Option<KeyValue>, Error> {
        if self.check(key, expect)?.is_none() {
            return Ok(None);
        }
        self.revision += 1;
        Ok(self.remove(key))
    }

    /// Deletes the key as part of the current revision.
    fn remove(&mut self, key: &str) -> Option<KeyValue> {
        let (previous, _) = self.keys.remove(key)?;
        self.times.insert(self.revision, self.now_ms);
        self.history.push_back(Arc::new(Change {
            revision: self.revision,
            key: previous.key.clone(),
            value: None,
            create_revision: previous.create_revision,
            previous: Some(previous.clone()),
        }));
        Some(previous)
    }

    fn check(&self, key: &str, expect: Expect) -> Result<Option<KeyValue>, Error> {
        let current = self.get(key).cloned();
        let met = match expect {
            Expect::Anything => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(wanted) => current.as_ref().is_some_and(|held| held.mod_revision == wanted),
        };
        if met { Ok(current) } else { Err(Error::Conflict { current }) }
    }

    pub fn list(&self, range: &ListRange) -> Result<ListPage, Error> {
        let at = range.at.unwrap_or(self.revision);
        self.check_revision(at)?;
        let from = if range.after.as_str() >= range.prefix.as_str() && !range.after.is_empty() {
            Bound::Excluded(range.after.as_str())
        } else {
            Bound::Included(range.prefix.as_str())
        };
        let within = |key: &str| {
            let behind = range.after.is_empty() || key > range.after.as_str();
            key.starts_with(&range.prefix) && behind
        };
        let now = self.keys.range::<str, _>((from, Bound::Unbounded));
        let now = now.map(|(key, (held, _))| (key.clone(), held.clone()));
        let mut then: BTreeMap<Arc<str>, KeyValue> = now.take_while(|(key, _)| within(key)).collect();
        // Back from now, change by change.
        for change in self.history.iter().rev().take_while(|change| change.revision > at) {
            if !within(&change.key) {
                continue;
            }
            match &change.previous {
                Some(previous) => then.insert(change.key.clone(), previous.clone()),
                None => then.remove(&change.key),
            };
        }
        let more = range.limit > 0 && then.len() > range.limit;
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        Ok(ListPage { items: then.into_values().take(limit).collect(), revision: at, more })
    }

    pub fn check_revision(&self, asked: Revision) -> Result<(), Error> {
        // 0 and the first revision both name the empty store.
        if asked.max(FIRST_REVISION) < self.oldest {
            return Err(Error::Compacted { asked, oldest: self.oldest });
        }
        if asked > self.revision {
            return Err(Error::Future { asked, current: self.revision });
        }
        Ok(())
    }

    /// About `limit` changes after `position`, whole revisions.
    pub fn changes_after(&self, position: Revision, limit: usize) -> Result<Vec<Arc<Change>>, Error> {
        self.check_revision(position)?;
        let start = self.history.partition_point(|change| change.revision <= position);
        let mut changes: Vec<Arc<Change>> = Vec::new();
        for change in self.history.range(start..) {
            if changes.len() >= limit && changes.last().is_some_and(|last| last.revision != change.revision) {
                break;
            }
            changes.push(change.clone());
        }
        Ok(changes)
    }

    pub fn moment(&self, time_ms: u64) -> Result<Moment, Error> {
        let made = self.times.iter().rev().find(|(_, made_ms)| **made_ms <= time_ms);
        let revision = made.map_or(FIRST_REVISION, |(revision, _)| *revision);
        self.check_revision(revision)?;
        Ok(Moment { revision, time_ms })
    }

    pub fn oldest(&self) -> Moment {
        Moment { revision: self.oldest, time_ms: self.time_of(self.oldest) }
    }

    fn time_of(&self, revision: Revision) -> u64 {
        self.times.get(&revision).copied().unwrap_or(self.now_ms)
    }

    pub fn versions(&self, key: &str, limit: usize) -> Versions {
        let changes = self.history.iter().rev().filter(|change| &*change.key == key);
        let mut versions: Vec<Version> = changes
            .clone()
            .map(|change| Version {
                revision: change.revision,
                time_ms: self.time_of(change.revision),
                value: change.value.clone(),
            })
            .collect();
        let before = match changes.clone().next_back() {
            Some(first) => first.previous.clone(),
            None => self.get(key).cloned(),
        };
        versions.extend(before.map(|held| Version {
            revision: held.mod_revision,
            time_ms: self.time_of(held.mod_revision),
            value: Some(held.value),
        }));
        let more = versions.len() > limit;
        versions.truncate(limit);
        Versions { versions, more }
    }

    pub fn compact(&mut self, upto: Revision) -> Result<(), Error> {
        if upto > self.revision {
            return Err(Error::Future { asked: upto, current: self.revision });
        }
        self.oldest = self.oldest.max(upto);
        let gone = self.history.partition_point(|change| change.revision <= self.oldest);
        self.history.drain(..gone);
        Ok(())
    }
}
