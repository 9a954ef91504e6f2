//! How the file is opened or made: closed to others, with its tables, in today's format.

use std::path::Path;
use std::sync::Arc;

use redb::Database;

use super::layout::{
    COUNTERS, EXPIRY, FORMAT, HISTORY, KEYS, MARKS, META, META_FORMAT, damaged, guarded, storage_error,
    with_path,
};
use super::upgrade;
use crate::types::Error;

/// Opens or makes the file and its tables.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let at: Arc<str> = path.display().to_string().into();
    let fresh = !path.exists();
    make_private(path).map_err(|e| with_path(storage_error(redb::Error::Io(e)), &at))?;
    let opened = guarded(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes).set_repair_callback(|_| {
            tracing::debug!("the data file was not closed; its pages are checked");
        });
        let db = builder.create(path).map_err(|e| open_error(e, &at))?;
        make_tables(&db)?;
        Ok(db)
    });
    let db = opened.map_err(|e| with_path(e, &at))?;
    if fresh {
        sync_folder(path)?;
    }
    Ok(db)
}

/// Memory for the pages of a file that is looked through once, in bytes.
pub(super) const CACHE_BYTES: usize = 16 << 20;

/// Opens a file that must be there and hold something.
pub(super) fn open_present(path: &Path) -> Result<Database, Error> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() > 0 => open(path, CACHE_BYTES),
        Ok(_) => Err(Error::Io(format!("{} is empty", path.display()).into())),
        Err(error) => Err(Error::Io(format!("{}: {error}", path.display()).into())),
    }
}

fn make_tables(db: &Database) -> Result<(), Error> {
    use redb::ReadableDatabase;
    let txn = db.begin_read().map_err(storage_error)?;
    match txn.open_table(META) {
        Ok(meta) => {
            let format = meta.get(META_FORMAT).map_err(storage_error)?.map(|g| g.value());
            return match format {
                Some(FORMAT) => Ok(()),
                Some(from @ 1..FORMAT) => upgrade::run(db, from),
                other => Err(damaged(&format!("its format is {other:?}, this program knows {FORMAT}"))),
            };
        }
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
        txn.open_table(COUNTERS).map_err(storage_error)?;
        let mut meta = txn.open_table(META).map_err(storage_error)?;
        meta.insert(META_FORMAT, FORMAT).map_err(storage_error)?;
    }
    txn.commit().map_err(storage_error)
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
pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
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
