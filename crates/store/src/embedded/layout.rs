//! How revisions lie in the file, and how the file is opened.
//!
//! `KEYS` holds where each present key's last change is; `HISTORY` holds the changes by revision, with the
//! values. A change names its predecessor, so that the past can be read by walking back. A value is written
//! once, at the right edge of `HISTORY`.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition};

use crate::types::{Error, Revision};

/// Key → (create revision, mod revision, expiry in milliseconds since the epoch or 0).
pub(super) const KEYS: TableDefinition<&str, (u64, u64, u64)> = TableDefinition::new("keys");
/// Revision → [`Record`]. Every revision after the oldest kept one, and those older that are still current
/// or the predecessor of a kept change.
pub(super) const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("history");
/// (expiry in milliseconds since the epoch, key).
pub(super) const EXPIRY: TableDefinition<(u64, &str), ()> = TableDefinition::new("expiry");
/// Milliseconds since the epoch → the revision that was current then; a mark every few seconds of writing.
pub(super) const MARKS: TableDefinition<u64, u64> = TableDefinition::new("marks");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_REVISION: &str = "revision";
/// The oldest revision that can be listed or watched from.
pub(super) const META_OLDEST: &str = "oldest";
/// Bytes of the changes after the oldest revision.
pub(super) const META_HISTORY_BYTES: &str = "history_bytes";

/// When the last change was made, in milliseconds since the epoch.
pub(super) const META_WRITTEN_MS: &str = "written_ms";

const FORMAT: u64 = 1;
/// The empty store's revision, as etcd's.
pub(super) const FIRST_REVISION: Revision = 1;

/// A change as `HISTORY` holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub deletion: bool,
    pub create_revision: Revision,
    /// The revision of the key's change before; 0 where the key was absent.
    pub previous: Revision,
    pub key: &'a str,
    pub value: &'a [u8],
}

const HEADER: usize = 21;

impl<'a> Record<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.key.len() + self.value.len());
        out.push(u8::from(self.deletion));
        out.extend_from_slice(&self.create_revision.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        // The key is far below 4 GiB: the store's limit on key and value is.
        out.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(self.value);
        out
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse(bytes).ok_or_else(|| damaged("a history record cannot be read"))
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (deletion, rest) = bytes.split_first()?;
        let (create, rest) = rest.split_first_chunk()?;
        let (previous, rest) = rest.split_first_chunk()?;
        let (key_len, rest) = rest.split_first_chunk()?;
        let (key, value) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
        Some(Self {
            deletion: *deletion != 0,
            create_revision: u64::from_le_bytes(*create),
            previous: u64::from_le_bytes(*previous),
            key: std::str::from_utf8(key).ok()?,
            value,
        })
    }
}

/// The numbers of `META`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    pub revision: Revision,
    pub oldest: Revision,
    pub history_bytes: u64,
    pub written_ms: u64,
}

impl Counters {
    pub fn load(meta: &impl ReadableTable<&'static str, u64>) -> Result<Self, Error> {
        let number = |name: &'static str, absent: u64| -> Result<u64, Error> {
            Ok(meta.get(name).map_err(storage_error)?.map_or(absent, |g| g.value()))
        };
        Ok(Self {
            revision: number(META_REVISION, FIRST_REVISION)?,
            oldest: number(META_OLDEST, FIRST_REVISION)?,
            history_bytes: number(META_HISTORY_BYTES, 0)?,
            written_ms: number(META_WRITTEN_MS, 0)?,
        })
    }

    pub fn save(&self, meta: &mut redb::Table<'_, &'static str, u64>) -> Result<(), Error> {
        meta.insert(META_REVISION, self.revision).map_err(storage_error)?;
        meta.insert(META_OLDEST, self.oldest).map_err(storage_error)?;
        meta.insert(META_HISTORY_BYTES, self.history_bytes).map_err(storage_error)?;
        meta.insert(META_WRITTEN_MS, self.written_ms).map_err(storage_error)?;
        Ok(())
    }
}

/// Opens or makes the file and its tables.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let at: Arc<str> = path.display().to_string().into();
    let fresh = !path.exists();
    make_private(path).map_err(|e| with_path(storage_error(redb::Error::Io(e)), &at))?;
    // The engine trusts its own pages and may panic on a file that something else wrote to.
    let opened = std::panic::catch_unwind(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes).set_repair_callback(|_| {
            tracing::debug!("the data file was not closed; its pages are checked");
        });
        let db = builder.create(path).map_err(|e| open_error(e, &at))?;
        make_tables(&db)?;
        Ok(db)
    });
    let db = opened.unwrap_or_else(|_| Err(contradiction())).map_err(|e| with_path(e, &at))?;
    if fresh {
        sync_folder(path)?;
    }
    Ok(db)
}

fn make_tables(db: &Database) -> Result<(), Error> {
    use redb::ReadableDatabase;
    let txn = db.begin_read().map_err(storage_error)?;
    match txn.open_table(META) {
        Ok(meta) => return check_format(&meta),
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(e) => return Err(storage_error(e)),
    }
    drop(txn);
    let txn = db.begin_write().map_err(storage_error)?;
    {
        txn.open_table(KEYS).map_err(storage_error)?;
        txn.open_table(HISTORY).map_err(storage_error)?;
        txn.open_table(EXPIRY).map_err(storage_error)?;
        txn.open_table(MARKS).map_err(storage_error)?;
        let mut meta = txn.open_table(META).map_err(storage_error)?;
        meta.insert(META_FORMAT, FORMAT).map_err(storage_error)?;
    }
    txn.commit().map_err(storage_error)
}

fn check_format(meta: &impl ReadableTable<&'static str, u64>) -> Result<(), Error> {
    match meta.get(META_FORMAT).map_err(storage_error)?.map(|g| g.value()) {
        Some(FORMAT) => Ok(()),
        other => Err(damaged(&format!("its format is {other:?}, this program knows {FORMAT}"))),
    }
}

/// Only this process' user may read what is stored, whatever the umask and whoever made the file.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

/// A new file exists after a power loss only if its folder is synced to the disk too.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| storage_error(redb::Error::Io(e)))
}

fn open_error(error: redb::DatabaseError, path: &Arc<str>) -> Error {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => Error::Locked { path: path.clone() },
        redb::DatabaseError::Storage(redb::StorageError::Io(e))
            if matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            Error::Corrupted { path: path.clone(), reason: e.to_string().into() }
        }
        other => with_path(storage_error(other), path),
    }
}

/// Names the file in an error about it.
pub(super) fn with_path(error: Error, path: &Arc<str>) -> Error {
    match error {
        Error::Corrupted { reason, .. } => Error::Corrupted { path: path.clone(), reason },
        Error::Io(reason) => Error::Io(format!("{path}: {reason}").into()),
        other => other,
    }
}

pub(super) fn damaged(reason: &str) -> Error {
    Error::Corrupted { path: "of the store".into(), reason: reason.into() }
}

/// The error about a file on which the engine panicked.
pub(super) fn contradiction() -> Error {
    damaged("its pages contradict each other")
}

/// The engine's errors in the store's terms.
pub(super) fn storage_error(error: impl Into<redb::Error>) -> Error {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.into() {
        redb::Error::Io(e) if matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge) => {
            Error::DiskFull(e.to_string().into())
        }
        redb::Error::Corrupted(reason) => damaged(&reason),
        other => Error::Io(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_a_truncated_one_is_refused() {
        let record =
            Record { deletion: true, create_revision: 7, previous: 9, key: "/a/ö", value: b"value" };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes).unwrap(), record);
        for cut in 0..HEADER + record.key.len() {
            assert!(matches!(Record::decode(&bytes[..cut]), Err(Error::Corrupted { .. })), "{cut}");
        }
    }
}
