//! Unpacked layers and containers' writable layers on disk.
//!
//! Layout: `layers/KEY/{fs,layer.json}` (KEY: 20 digits of the chain id, short because overlayfs takes
//! all lower directories in one page of mount options), `containers/ID/{fs,work,layers.json}`,
//! `unpack/N` and `trash/N` for what is being made and unmade. A directory appears under its name
//! only when complete, by rename. Never decides what is still needed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::layer::{self, LayerError, LayerLimits};
use super::{compression, durable, usage};
use crate::digest::{Digest, Hashing};
use crate::rootfs::{Overlay, Usage};

/// The record of an unpacked layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of this layer's unpacked archive and of all below it (OCI image-spec, ChainID).
    pub chain_id: Digest,
    pub size_bytes: u64,
    pub inodes: u64,
}

/// Why a snapshot could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("wrong diff id calculated on extraction: got {got}, want {want}")]
    WrongContent { want: Digest, got: Digest },
    #[error("failed to extract layer {diff_id}: {source}")]
    Layer { diff_id: Digest, source: LayerError },
    #[error("layer {0} is not unpacked")]
    MissingLayer(Digest),
    #[error("layers {0} and {1} have the same key")]
    KeyCollision(Digest, Digest),
    #[error("{0:?} is no container id")]
    BadContainerId(String),
    #[error("{context}: {source}")]
    Io { context: String, source: io::Error },
}

/// The store; all methods block on the disk and may be called concurrently.
#[derive(Debug)]
pub struct SnapshotStore {
    root: PathBuf,
    limits: LayerLimits,
    next_temporary: AtomicU64,
    layers: Mutex<HashMap<Digest, LayerRecord>>,
    containers: Mutex<HashMap<String, Vec<Digest>>>,
}

/// A directory out of sight that still takes space; what is not deleted goes at the next start.
#[derive(Debug)]
#[must_use]
pub struct Discarded(PathBuf);

impl Discarded {
    /// Gives the space back. Takes as long as there are files.
    pub fn delete(self) -> io::Result<()> {
        base::remove_tree(&self.0)
    }
}

/// The chain id of a layer over the chain below it.
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => *diff_id,
        Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
    }
}

impl SnapshotStore {
    /// Opens the store under `root`, creating it where it is missing, and drops what is half made.
    ///
    /// The caller makes sure that no other process has it open.
    pub fn open(root: &Path, limits: LayerLimits) -> Result<Self, SnapshotError> {
        let store = Self {
            root: root.to_owned(),
            limits,
            next_temporary: AtomicU64::new(0),
            layers: Mutex::default(),
            containers: Mutex::default(),
        };
        store.load().map_err(|source| at(root, source))?;
        Ok(store)
    }

    fn load(&self) -> io::Result<()> {
        for dir in ["layers", "containers", "empty"] {
            fs::create_dir_all(self.root.join(dir))?;
        }
        fs::set_permissions(&self.root, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        for dir in ["unpack", "trash"] {
            let dir = self.root.join(dir);
            if dir.exists() {
                base::remove_tree(&dir)?;
            }
            fs::create_dir(&dir)?;
        }
        for entry in fs::read_dir(self.root.join("layers"))? {
            let path = entry?.path();
            match read_json::<LayerRecord>(&path.join("layer.json")) {
                Ok(record) => drop(lock(&self.layers).insert(record.chain_id, record)),
                Err(e) => self.drop_damaged(&path, &e)?,
            }
        }
        for entry in fs::read_dir(self.root.join("containers"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match read_json::<Vec<Digest>>(&entry.path().join("layers.json")) {
                Ok(layers) => drop(lock(&self.containers).insert(name, layers)),
                Err(e) => self.drop_damaged(&entry.path(), &e)?,
            }
        }
        Ok(())
    }

    fn drop_damaged(&self, path: &Path, error: &io::Error) -> io::Result<()> {
        tracing::warn!(path = %path.display(), %error, "a snapshot without a readable record is removed");
        self.throw_away(path)?.map_or(Ok(()), Discarded::delete)
    }

    /// The record of an unpacked layer.
    pub fn layer(&self, chain_id: &Digest) -> Option<LayerRecord> {
        lock(&self.layers).get(chain_id).copied()
    }

    /// All unpacked layers.
    pub fn layers(&self) -> Vec<LayerRecord> {
        lock(&self.layers).values().copied().collect()
    }

    /// Unpacks a layer over `parents` (chain ids, bottom first) from its archive, compressed or not,
    /// and checks that the archive's digest is `diff_id`. One that is unpacked already is left alone.
    pub fn unpack(
        &self,
        parents: &[Digest],
        diff_id: &Digest,
        archive: impl Read + Send,
    ) -> Result<LayerRecord, SnapshotError> {
        let chain_id = chain_id(parents.last(), diff_id);
        if let Some(record) = self.layer(&chain_id) {
            return Ok(record);
        }
        let lower = parents.iter().rev().map(|p| self.layer_dir(p)).collect::<Result<Vec<_>, _>>()?;
        let temporary = self.temporary("unpack");
        let result = self.unpack_into(&temporary, &lower, chain_id, diff_id, archive);
        if result.is_err()
            && let Err(error) = base::remove_tree(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %temporary.display(), %error, "a half unpacked layer stays until the next start");
        }
        result
    }

    fn unpack_into(
        &self,
        temporary: &Path,
        lower: &[PathBuf],
        chain_id: Digest,
        diff_id: &Digest,
        archive: impl Read + Send,
    ) -> Result<LayerRecord, SnapshotError> {
        let io_error = |source| at(temporary, source);
        let target = temporary.join("fs");
        fs::create_dir_all(&target).map_err(io_error)?;
        let failed = |source| SnapshotError::Layer { diff_id: *diff_id, source };
        let mut content = Hashing::new(compression::decompress(archive).map_err(|e| failed(e.into()))?);
        let applied = layer::apply(&mut content, &target, lower, self.limits).map_err(failed)?;
        let (_, got) = content.finish();
        if got != *diff_id {
            return Err(SnapshotError::WrongContent { want: *diff_id, got });
        }
        let record = LayerRecord { chain_id, size_bytes: applied.size_bytes, inodes: applied.inodes };
        write_json(&temporary.join("layer.json"), &record).map_err(io_error)?;
        self.publish(temporary, record).map_err(io_error)
    }

    fn publish(&self, temporary: &Path, record: LayerRecord) -> io::Result<LayerRecord> {
        rustix::fs::syncfs(File::open(temporary)?)?;
        let path = self.layer_path(&record.chain_id);
        match fs::rename(temporary, &path) {
            // Unpacked twice at the same time: the first result is kept.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                let standing: LayerRecord = read_json(&path.join("layer.json"))?;
                if standing.chain_id != record.chain_id {
                    return Err(io::Error::other(SnapshotError::KeyCollision(
                        standing.chain_id,
                        record.chain_id,
                    )));
                }
                base::remove_tree(temporary)?;
            }
            other => other?,
        }
        durable::sync_dir(&self.root.join("layers"))?;
        lock(&self.layers).insert(record.chain_id, record);
        Ok(record)
    }

    /// Takes a layer out of sight at once; deleting it is left to the caller.
    pub fn remove_layer(&self, chain_id: &Digest) -> io::Result<Option<Discarded>> {
        match lock(&self.layers).remove(chain_id) {
            Some(_) => self.throw_away(&self.layer_path(chain_id)),
            None => Ok(None),
        }
    }

    /// The directories of layers (chain ids, bottom first), topmost first.
    pub fn stack(&self, layers: &[Digest]) -> Result<Vec<PathBuf>, SnapshotError> {
        layers.iter().rev().map(|layer| self.layer_dir(layer)).collect()
    }

    /// Where what a container has written lies.
    pub fn written_by(&self, container: &str) -> Result<PathBuf, SnapshotError> {
        Ok(self.container_path(container)?.join("fs"))
    }

    /// The overlay of a container over `layers` (chain ids, bottom first); made where it is missing.
    pub fn prepare(&self, container: &str, layers: &[Digest]) -> Result<Overlay, SnapshotError> {
        let path = self.container_path(container)?;
        let mut lower = layers.iter().rev().map(|l| self.layer_dir(l)).collect::<Result<Vec<_>, _>>()?;
        if lower.is_empty() {
            lower.push(self.root.join("empty"));
        }
        if lock(&self.containers).insert(container.to_owned(), layers.to_vec()).is_none() {
            let made = self.make_container(&path, layers);
            if let Err(source) = made {
                lock(&self.containers).remove(container);
                return Err(at(&path, source));
            }
        }
        Ok(Overlay { lower, upper: path.join("fs"), work: path.join("work") })
    }

    fn make_container(&self, path: &Path, layers: &[Digest]) -> io::Result<()> {
        let temporary = self.temporary("unpack");
        for dir in ["fs", "work"] {
            fs::create_dir_all(temporary.join(dir))?;
        }
        // Not made durable: containers do not outlive the machine.
        fs::write(temporary.join("layers.json"), serde_json::to_vec(layers)?)?;
        fs::rename(temporary, path)
    }

    /// Removes a container's writable layer; returns the layers below it, none for an unknown container.
    pub fn remove_container(&self, container: &str) -> Result<Vec<Digest>, SnapshotError> {
        let path = self.container_path(container)?;
        if !lock(&self.containers).contains_key(container) {
            return Ok(Vec::new());
        }
        let discarded = self.throw_away(&path).map_err(|source| at(&path, source))?;
        discarded.map_or(Ok(()), Discarded::delete).map_err(|source| at(&path, source))?;
        Ok(lock(&self.containers).remove(container).unwrap_or_default())
    }

    /// The containers that have a writable layer.
    pub fn containers(&self) -> Vec<String> {
        lock(&self.containers).keys().cloned().collect()
    }

    /// The layers that containers use.
    pub fn layers_in_use(&self) -> HashSet<Digest> {
        lock(&self.containers).values().flatten().copied().collect()
    }

    /// What a container has written.
    pub fn container_usage(&self, container: &str) -> Result<Usage, SnapshotError> {
        let path = self.container_path(container)?.join("fs");
        usage::of_dir(&path).map_err(|source| at(&path, source))
    }

    fn throw_away(&self, path: &Path) -> io::Result<Option<Discarded>> {
        let trash = self.temporary("trash");
        match fs::rename(path, &trash) {
            Ok(()) => Ok(Some(Discarded(trash))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn temporary(&self, dir: &str) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.root.join(dir).join(number.to_string())
    }

    fn layer_path(&self, chain_id: &Digest) -> PathBuf {
        self.root.join("layers").join(&chain_id.hex()[..20])
    }

    fn layer_dir(&self, chain_id: &Digest) -> Result<PathBuf, SnapshotError> {
        self.layer(chain_id).ok_or(SnapshotError::MissingLayer(*chain_id))?;
        Ok(self.layer_path(chain_id).join("fs"))
    }

    fn container_path(&self, container: &str) -> Result<PathBuf, SnapshotError> {
        let good = (1..=128).contains(&container.len())
            && container.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && !container.starts_with('.');
        if !good {
            return Err(SnapshotError::BadContainerId(container.to_owned()));
        }
        Ok(self.root.join("containers").join(container))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn at(path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Io { context: path.display().to_string(), source }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    fs::write(path, serde_json::to_vec(value)?)
}

#[cfg(test)]
#[path = "store/privileged.rs"]
mod privileged;
