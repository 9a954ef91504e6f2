//! Makes a sound data file of what is intact in a damaged one. The file must not be in use.
//!
//! The newest intact change of each key counts. Changes are looked up in the engine's tables; where the engine cannot
//! open the file, or not read it to its end, the bytes of the file are searched for records, which carry what tells
//! them apart from all else. History does not survive: clients list anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable};

use super::check::check;
use super::layout::{COUNTERS, Counters, EXPIRY, HISTORY, KEYS, Record, guarded, storage_error, with_path};
use super::open;
use crate::types::{Error, Revision};

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Keys that are as they were.
    pub kept: u64,
    /// Keys whose last change was damaged and that are now as an earlier change left them: key, the earlier revision.
    pub set_back: Vec<(String, Revision)>,
    /// Keys of which nothing intact was left.
    pub lost: Vec<String>,
    /// The file's bytes had to be searched: a key that was deleted may be present again.
    pub searched: bool,
    /// Where the damaged file is now.
    pub damaged_file: PathBuf,
}

/// A key's newest intact change.
struct Newest {
    revision: Revision,
    /// `None` for a deletion.
    value: Option<(Revision, Vec<u8>)>,
}

#[derive(Default)]
struct Found {
    newest: BTreeMap<String, Newest>,
    /// What the engine's table of keys says: the last revision, and the expiry.
    keys: BTreeMap<String, (Revision, u64)>,
    /// The table of keys was read to its end: what it does not name is deleted.
    all_keys: bool,
    revision: Revision,
}

impl Found {
    fn add(&mut self, revision: Revision, record: &Record<'_>) {
        self.revision = self.revision.max(revision);
        if self.newest.get(record.key).is_some_and(|known| known.revision >= revision) {
            return;
        }
        let value = (!record.deletion).then(|| (record.create_revision, record.value.to_vec()));
        self.newest.insert(record.key.to_owned(), Newest { revision, value });
    }
}

/// Puts a sound file in the place of a damaged one, which is kept beside it under the name `NAME.damaged`. A file
/// without damage stays as it is, and `None` is returned.
///
/// # Errors
/// [`Error::Locked`] when the file is in use, [`Error::Io`] when there is none, or a file of that name stands in the
/// way; the file is as it was then.
pub fn repair(path: &Path) -> Result<Option<Repaired>, Error> {
    match check(path) {
        Ok(report) if report.damages.is_empty() => return Ok(None),
        Ok(_) | Err(Error::Corrupted { .. }) => {}
        Err(error) => return Err(error),
    }
    let (fresh, aside) = (beside(path, "repaired"), beside(path, "damaged"));
    for taken in [&fresh, &aside] {
        if taken.exists() {
            return Err(Error::Io(format!("{} is in the way: move it elsewhere", taken.display()).into()));
        }
    }
    let mut found = Found::default();
    let searched = guarded(|| gather(path, &mut found)).is_err();
    if searched {
        search(path, &mut found)?;
    }
    let written = write(&fresh, &found).map_err(|e| with_path(e, &fresh.display().to_string().into()));
    let mut repaired = match written {
        Ok(repaired) => repaired,
        Err(error) => {
            let _half = std::fs::remove_file(&fresh);
            return Err(error);
        }
    };
    let moved = std::fs::rename(path, &aside).and_then(|()| std::fs::rename(&fresh, path));
    moved.map_err(|e| storage_error(redb::Error::Io(e)))?;
    open::sync_folder(path)?;
    (repaired.searched, repaired.damaged_file) = (searched, aside);
    Ok(Some(repaired))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Reads the engine's tables; what was read before an error counts.
fn gather(path: &Path, found: &mut Found) -> Result<(), Error> {
    let db = open::open_present(path)?;
    let txn = db.begin_read().map_err(storage_error)?;
    found.revision = Counters::load(&txn.open_table(COUNTERS).map_err(storage_error)?)?.revision;
    let keys = txn.open_table(KEYS).map_err(storage_error)?;
    for entry in keys.iter().map_err(storage_error)? {
        let (key, place) = entry.map_err(storage_error)?;
        let (_, revision, expires_ms) = place.value();
        found.keys.insert(key.value().to_owned(), (revision, expires_ms));
    }
    found.all_keys = true;
    let history = txn.open_table(HISTORY).map_err(storage_error)?;
    for entry in history.iter().map_err(storage_error)? {
        let (revision, bytes) = entry.map_err(storage_error)?;
        if let Ok(record) = Record::decode(revision.value(), bytes.value()) {
            found.add(revision.value(), &record);
        }
    }
    Ok(())
}

/// Searches the file's bytes for records.
fn search(path: &Path, found: &mut Found) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(|e| storage_error(redb::Error::Io(e)))?;
    let mut at = 0;
    while at < bytes.len() {
        match Record::find(&bytes[at..]) {
            Some((revision, record)) => {
                found.add(revision, &record);
                at += record.key.len() + record.value.len();
            }
            None => at += 1,
        }
    }
    Ok(())
}

fn write(fresh: &Path, found: &Found) -> Result<Repaired, Error> {
    let mut repaired = Repaired::default();
    let db: Database = open::open(fresh, open::CACHE_BYTES)?;
    let txn = db.begin_write().map_err(storage_error)?;
    let mut kept_bytes = 0;
    {
        let mut keys = txn.open_table(KEYS).map_err(storage_error)?;
        let mut history = txn.open_table(HISTORY).map_err(storage_error)?;
        let mut expiry = txn.open_table(EXPIRY).map_err(storage_error)?;
        for (key, newest) in &found.newest {
            let known = found.keys.get(key);
            let Some((create_revision, value)) = &newest.value else { continue };
            if found.all_keys && known.is_none() {
                continue;
            }
            let (create_revision, revision) = (*create_revision, newest.revision);
            let expires_ms = known.map_or(0, |(_, expires_ms)| *expires_ms);
            keys.insert(key.as_str(), (create_revision, revision, expires_ms)).map_err(storage_error)?;
            if expires_ms != 0 {
                expiry.insert((expires_ms, key.as_str()), ()).map_err(storage_error)?;
            }
            let record = Record { deletion: false, create_revision, previous: 0, time_ms: 0, key, value }
                .encode(revision);
            kept_bytes += record.len() as u64;
            history.insert(revision, record.as_slice()).map_err(storage_error)?;
            match known {
                Some((last, _)) if *last != revision => repaired.set_back.push((key.clone(), revision)),
                _ => repaired.kept += 1,
            }
        }
        repaired.lost = found.keys.keys().filter(|key| !found.newest.contains_key(*key)).cloned().collect();
        let (revision, oldest) = (found.revision, found.revision);
        let counters = Counters { revision, oldest, kept_bytes, ..Counters::default() };
        counters.save(&txn)?;
    }
    txn.commit().map_err(storage_error)?;
    Ok(repaired)
}
