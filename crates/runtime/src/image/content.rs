//! The content store: immutable blobs named by their digest.
//!
//! Layout under its folder: `blobs/sha256/HEX` for what is complete, `ingest/N` for what is being
//! written. A blob appears only after all its bytes are on disk and its digest was computed here.
//! Never decides which blobs are still needed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::{Digest, Hasher};
use crate::snapshot::durable;

/// Blobs on disk. Cheap to share behind an `Arc`; all methods may be called concurrently.
#[derive(Debug)]
pub struct ContentStore {
    blobs: PathBuf,
    ingest: PathBuf,
    next_ingest: AtomicU64,
}

impl ContentStore {
    /// Opens the store under `root`, creating it where it is missing, and drops unfinished writes.
    ///
    /// The caller makes sure that no other process has it open.
    pub fn open(root: &Path) -> io::Result<Self> {
        let blobs = root.join("blobs/sha256");
        let ingest = root.join("ingest");
        fs::create_dir_all(&blobs)?;
        if ingest.exists() {
            fs::remove_dir_all(&ingest)?;
        }
        fs::create_dir(&ingest)?;
        Ok(Self { blobs, ingest, next_ingest: AtomicU64::new(0) })
    }

    /// Starts writing a blob of at most `limit_bytes`. Dropping the ingest discards it.
    pub fn begin(&self, limit_bytes: u64) -> io::Result<Ingest<'_>> {
        let number = self.next_ingest.fetch_add(1, Ordering::Relaxed);
        let path = self.ingest.join(number.to_string());
        let file = File::create_new(&path)?;
        Ok(Ingest { store: self, path, file, hasher: Hasher::default(), written_bytes: 0, limit_bytes })
    }

    /// Stores `bytes` and returns their digest.
    pub fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        let mut ingest = self.begin(bytes.len() as u64)?;
        ingest.write_all(bytes)?;
        Ok(ingest.commit()?.0)
    }

    /// The size in bytes of a blob, or nothing where it is not stored.
    pub fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(digest)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    /// Reads a whole blob of at most `limit_bytes`, and checks it against its digest.
    pub fn read(&self, digest: &Digest, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?.take(limit_bytes + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        if Digest::of(&bytes) != *digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("blob {digest} is damaged")));
        }
        Ok(bytes)
    }

    /// Removes a blob; one that is not there is no error.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// All stored blobs. Files with other names are left alone.
    pub fn list(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.blobs)? {
            if let Some(digest) = entry?.file_name().to_str().and_then(|n| Digest::from_hex(n).ok()) {
                found.push(digest);
            }
        }
        Ok(found)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }
}

/// A blob being written.
pub struct Ingest<'a> {
    store: &'a ContentStore,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    written_bytes: u64,
    limit_bytes: u64,
}

impl Ingest<'_> {
    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Makes the blob durable and visible; returns its digest and size in bytes.
    pub fn commit(self) -> io::Result<(Digest, u64)> {
        let digest = self.hasher.clone().finish();
        self.finish(digest)
    }

    /// Like [`commit`](Self::commit), but refuses a blob that is not `want` with `size` bytes.
    pub fn commit_as(self, want: &Digest, size_bytes: u64) -> io::Result<()> {
        let digest = self.hasher.clone().finish();
        if self.written_bytes != size_bytes || digest != *want {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "unexpected commit digest {digest} ({} bytes), expected {want} ({size_bytes} bytes)",
                    self.written_bytes
                ),
            ));
        }
        self.finish(digest).map(|_| ())
    }

    fn finish(self, digest: Digest) -> io::Result<(Digest, u64)> {
        self.file.sync_all()?;
        fs::rename(&self.path, self.store.path(&digest))?;
        durable::sync_dir(&self.store.blobs)?;
        Ok((digest, self.written_bytes))
    }
}

impl Write for Ingest<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.written_bytes + buf.len() as u64 > self.limit_bytes {
            return Err(too_large(self.limit_bytes));
        }
        let n = self.file.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.written_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        // After a commit the name is gone already; what a crash leaves is dropped by `open`.
        if let Err(e) = fs::remove_file(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), error = %e, "unfinished blob stays until the next start");
        }
    }
}

fn too_large(limit_bytes: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("content exceeds the limit of {limit_bytes} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_visible_only_after_commit() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let store = ContentStore::open(dir.path())?;
        let digest = Digest::of(b"hello");
        let mut ingest = store.begin(10)?;
        ingest.write_all(b"hello")?;
        assert_eq!(store.size(&digest)?, None);
        assert_eq!(ingest.commit()?, (digest, 5));
        assert_eq!(store.read(&digest, 5)?, b"hello");
        assert_eq!(store.list()?, vec![digest]);
        store.remove(&digest)?;
        store.remove(&digest)?;
        assert_eq!(store.size(&digest)?, None);
        Ok(())
    }

    #[test]
    fn wrong_digest_and_excess_leave_nothing() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let store = ContentStore::open(dir.path())?;
        let mut ingest = store.begin(10)?;
        ingest.write_all(b"hello")?;
        assert!(ingest.commit_as(&Digest::of(b"other"), 5).is_err());
        let mut ingest = store.begin(4)?;
        assert!(ingest.write_all(b"hello").is_err());
        drop(ingest);
        assert_eq!(store.list()?, vec![]);
        assert_eq!(fs::read_dir(dir.path().join("ingest"))?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_damaged_blob_is_noticed_when_read() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let store = ContentStore::open(dir.path())?;
        let digest = store.put(b"hello")?;
        fs::write(store.path(&digest), b"jello")?;
        assert!(store.read(&digest, 100).is_err());
        Ok(())
    }
}
