//! What readers, watchers and the committer have in common: the open file and the hub.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase};

use super::hub::Hub;
use super::layout::{guarded, storage_error, with_path};
use super::open;
use crate::types::Error;

pub(super) struct Shared {
    path: PathBuf,
    cache_bytes: usize,
    pub hub: Hub,
    /// Readers share the lock for as long as they read; the lock is taken exclusively only to make the file smaller,
    /// to close the file, or to open the file again after a failed write. `None` in between, and after the close.
    db: RwLock<Option<Database>>,
}

impl Shared {
    pub fn new(path: PathBuf, cache_bytes: usize, db: Database, hub: Hub) -> Self {
        Self { path, cache_bytes, hub, db: RwLock::new(Some(db)) }
    }

    /// Runs `work` on the last committed state. The engine trusts its pages: where something else wrote to them
    /// the engine may panic, which is reported as [`Error::Corrupted`].
    pub fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, Error>) -> Result<T, Error> {
        // Nothing is changed by a read, so nothing is left half done.
        guarded(|| self.with_db(|db| work(&db.begin_read().map_err(storage_error)?))).map_err(|error| {
            match error {
                Error::Corrupted { .. } => with_path(error, &self.path.display().to_string().into()),
                other => other,
            }
        })
    }

    pub fn with_db<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        match db.as_ref() {
            Some(db) => work(db),
            None if self.hub.is_closed() => Err(Error::Closed),
            None => Err(Error::Io("the data file could not be opened again after a failed write".into())),
        }
    }

    /// Closes the file and opens it again: after a failed write the engine refuses everything until then.
    pub fn reopen(&self) -> Result<(), Error> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        db.take();
        *db = Some(open::open(&self.path, self.cache_bytes)?);
        Ok(())
    }

    /// Runs `work` while nobody else is in the file: readers wait.
    pub fn alone<T>(&self, work: impl FnOnce(&mut Database) -> Result<T, Error>) -> Result<T, Error> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        work(db.as_mut().ok_or(Error::Closed)?)
    }

    /// How large the file is, in bytes.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        self.with_db(|_| {
            let metadata = std::fs::metadata(&self.path);
            metadata.map(|found| found.len()).map_err(|e| storage_error(redb::Error::Io(e)))
        })
    }

    pub fn is_open(&self) -> bool {
        self.db.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Closes the file once no reader is in it. Later reads answer [`Error::Closed`].
    pub fn close(&self) {
        self.hub.close();
        self.db.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}
