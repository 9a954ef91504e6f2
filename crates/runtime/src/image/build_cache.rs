//! What instructions of earlier builds came to: a layer by the key of all that went into it.
//!
//! One JSON file, replaced at each change; a damaged file is an empty cache. The entries used longest ago go first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::holds::Item;
use crate::digest::Digest;
use crate::snapshot::durable;

const ENTRY_LIMIT: usize = 1000;
const SIZE_LIMIT_BYTES: u64 = 10 << 30;

/// A layer that is not compressed: its blob's digest is its diff id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedLayer {
    pub blob: Digest,
    pub size_bytes: u64,
    pub chain_id: Digest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    key: Digest,
    /// None where the instruction changed no file.
    layer: Option<CachedLayer>,
}

/// The cache; the entry used last is the last one.
#[derive(Debug)]
pub struct BuildCache {
    path: PathBuf,
    entries: Mutex<Vec<Entry>>,
}

impl BuildCache {
    pub fn open(path: &Path) -> Self {
        let entries = match std::fs::read(path).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the build cache is damaged and starts anew");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        Self { path: path.to_owned(), entries: Mutex::new(entries) }
    }

    pub fn get(&self, key: &Digest) -> Option<Option<CachedLayer>> {
        let mut entries = self.lock();
        let index = entries.iter().position(|entry| entry.key == *key)?;
        let entry = entries.remove(index);
        let layer = entry.layer;
        entries.push(entry);
        Some(layer)
    }

    /// Adds an entry; returns what entries that had to go leave unneeded.
    pub fn put(&self, key: Digest, layer: Option<CachedLayer>) -> io::Result<Vec<Item>> {
        let mut entries = self.lock();
        entries.retain(|entry| entry.key != key);
        entries.push(Entry { key, layer });
        let mut dropped = Vec::new();
        while entries.len() > ENTRY_LIMIT || (entries.len() > 1 && total(&entries) > SIZE_LIMIT_BYTES) {
            dropped.extend(items(entries.remove(0).layer));
        }
        durable::replace(&self.path, &serde_json::to_vec(&*entries)?)?;
        Ok(dropped)
    }

    /// Forgets everything; returns the entries' number and what they leave unneeded.
    pub fn clear(&self) -> io::Result<(usize, Vec<Item>)> {
        let mut entries = self.lock();
        durable::replace(&self.path, b"[]")?;
        let dropped = std::mem::take(&mut *entries);
        Ok((dropped.len(), dropped.iter().flat_map(|entry| items(entry.layer)).collect()))
    }

    /// What the entries need.
    pub fn needed(&self) -> Vec<Item> {
        self.lock().iter().flat_map(|entry| items(entry.layer)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn total(entries: &[Entry]) -> u64 {
    entries.iter().filter_map(|entry| entry.layer).map(|layer| layer.size_bytes).sum()
}

fn items(layer: Option<CachedLayer>) -> impl Iterator<Item = Item> {
    layer.into_iter().flat_map(|layer| [Item::Blob(layer.blob), Item::Layer(layer.chain_id)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("cache.json");
        let cache = BuildCache::open(&path);
        let digest = |number: usize| Digest::of(&number.to_le_bytes());
        let layer = |number: usize| CachedLayer {
            blob: digest(number),
            size_bytes: 4 << 30,
            chain_id: digest(number),
        };
        assert_eq!(cache.put(digest(1), Some(layer(1)))?, []);
        assert_eq!(cache.put(digest(2), Some(layer(2)))?, []);
        assert_eq!(cache.get(&digest(1)), Some(Some(layer(1))));
        let dropped = cache.put(digest(3), Some(layer(3)))?;
        assert_eq!(dropped, [Item::Blob(digest(2)), Item::Layer(digest(2))]);
        assert_eq!(cache.put(digest(4), None)?, []);
        let again = BuildCache::open(&path);
        assert_eq!((again.get(&digest(4)), again.get(&digest(2))), (Some(None), None));
        assert_eq!(again.clear()?.0, 3);
        std::fs::write(&path, "[{")?;
        assert_eq!(BuildCache::open(&path).get(&digest(1)), None);
        Ok(())
    }
}
