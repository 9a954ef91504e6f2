//! Looks through a whole data file for damage. The file must not be in use.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::layout::{COUNTERS, Counters, HISTORY, KEYS, Record, guarded, storage_error, with_path};
use super::open;
use crate::types::{Error, Revision};

/// Something in the file that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The key it concerns, where that can be told.
    pub key: Option<String>,
    /// The revision it concerns, where that can be told.
    pub revision: Option<Revision>,
    /// What is wrong.
    pub what: String,
}

/// What was found in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The last revision.
    pub revision: Revision,
    /// Keys that are present.
    pub keys: u64,
    /// Changes that the file holds.
    pub changes: u64,
    /// Empty where the file is sound.
    pub damages: Vec<Damage>,
}

/// Reads every record of the file.
///
/// # Errors
/// [`Error::Locked`] when the file is in use, [`Error::Io`] when there is none, [`Error::Corrupted`] when the engine
/// cannot open it at all.
pub fn check(path: &Path) -> Result<Report, Error> {
    let db = open::open_present(path)?;
    look(&db).map_err(|error| with_path(error, &path.display().to_string().into()))
}

fn look(db: &Database) -> Result<Report, Error> {
    let mut found = Report::default();
    let mut sound = BTreeMap::new();
    let history = guarded(|| history(db, &mut found, &mut sound));
    note_broken(&mut found, "the changes", history);
    let keys = guarded(|| keys(db, &mut found, &sound));
    note_broken(&mut found, "the keys", keys);
    Ok(found)
}

fn note_broken(found: &mut Report, table: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        let what = format!("{table} cannot be read to their end: {}", reason(&error));
        found.damages.push(Damage { key: None, revision: None, what });
    }
}

/// Every record, and which key's it is where it is sound.
fn history(
    db: &Database,
    found: &mut Report,
    sound: &mut BTreeMap<Revision, (String, Revision)>,
) -> Result<(), Error> {
    let txn = db.begin_read().map_err(storage_error)?;
    found.revision = Counters::load(&txn.open_table(COUNTERS).map_err(storage_error)?)?.revision;
    let history = txn.open_table(HISTORY).map_err(storage_error)?;
    for entry in history.iter().map_err(storage_error)? {
        let (revision, bytes) = entry.map_err(storage_error)?;
        let revision = revision.value();
        found.changes += 1;
        match Record::decode(revision, bytes.value()) {
            Ok(record) if revision > found.revision => {
                let what = format!("the change is newer than the last revision, {}", found.revision);
                let key = Some(record.key.to_owned());
                found.damages.push(Damage { key, revision: Some(revision), what });
            }
            Ok(record) if !record.deletion => {
                sound.insert(revision, (record.key.to_owned(), record.create_revision));
            }
            Ok(_) => {}
            Err(error) => {
                let what = reason(&error);
                found.damages.push(Damage { key: None, revision: Some(revision), what });
            }
        }
    }
    Ok(())
}

/// Every key, and whether its last change is there.
fn keys(
    db: &Database,
    found: &mut Report,
    sound: &BTreeMap<Revision, (String, Revision)>,
) -> Result<(), Error> {
    let txn = db.begin_read().map_err(storage_error)?;
    let keys = txn.open_table(KEYS).map_err(storage_error)?;
    for entry in keys.iter().map_err(storage_error)? {
        let (key, place) = entry.map_err(storage_error)?;
        let (key, (create, revision, _)) = (key.value(), place.value());
        found.keys += 1;
        let what = match sound.get(&revision) {
            Some((of, created)) if of == key && *created == create => continue,
            Some(_) => "its entry names a change that is another key's".to_owned(),
            None => "its last change is missing or damaged".to_owned(),
        };
        found.damages.push(Damage { key: Some(key.to_owned()), revision: Some(revision), what });
    }
    Ok(())
}

pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Corrupted { reason, .. } => reason.to_string(),
        other => other.to_string(),
    }
}
