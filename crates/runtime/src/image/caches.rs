//! The folders that cache mounts of builds share: who uses one, and who waits for it.
//!
//! Owns the folders below its root. Never makes or fills one.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The folders by name.
pub(crate) struct Caches {
    root: PathBuf,
    used: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

/// The use of one folder, given back when this is dropped.
pub(crate) enum Held {
    Shared { _guard: OwnedRwLockReadGuard<()> },
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

impl Caches {
    pub fn new(root: PathBuf) -> Self {
        Self { root, used: Mutex::default() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn lock(&self, name: &str) -> Arc<RwLock<()>> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever holds or awaits one has a copy.
        used.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(used.entry(name.to_owned()).or_default())
    }

    /// Waits until nobody has the folder alone.
    pub async fn shared(&self, name: &str) -> Held {
        Held::Shared { _guard: self.lock(name).read_owned().await }
    }

    /// Waits until nobody uses the folder.
    pub async fn alone(&self, name: &str) -> Held {
        Held::Alone { _guard: self.lock(name).write_owned().await }
    }

    /// The folder for one user alone, if nobody uses it.
    pub fn try_alone(&self, name: &str) -> Option<Held> {
        Some(Held::Alone { _guard: self.lock(name).try_write_owned().ok()? })
    }

    /// Removes the folders that nobody uses. Blocks on the disk.
    pub fn prune(&self) -> io::Result<()> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Some(_held) = self.try_alone(&entry.file_name().to_string_lossy()) else { continue };
            match base::remove_tree(&entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_folder_is_shared_or_for_one_alone() {
        let caches = Caches::new(PathBuf::from("/nowhere"));
        let (first, second) = (caches.shared("a").await, caches.shared("a").await);
        assert!(caches.alone("a").now_or_never().is_none() && caches.try_alone("a").is_none());
        let other = caches.try_alone("b").expect("free");
        assert!(caches.shared("b").now_or_never().is_none());
        drop((first, second));
        let alone = caches.alone("a").now_or_never().expect("free again");
        assert!(caches.shared("a").now_or_never().is_none());
        drop((alone, other));
        drop(caches.shared("c").await);
        assert_eq!(caches.used.lock().expect("whole").len(), 1, "the table forgets what nobody uses");
    }

    #[tokio::test]
    async fn pruning_spares_what_is_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let caches = Caches::new(dir.path().join("caches"));
        caches.prune().expect("nothing to do");
        for name in ["free", "used"] {
            std::fs::create_dir_all(caches.root().join(name).join("deep")).expect("folders");
        }
        let held = caches.shared("used").await;
        caches.prune().expect("pruned");
        let left = |name| caches.root().join(name).exists();
        assert_eq!((left("free"), left("used")), (false, true));
        drop(held);
        caches.prune().expect("pruned");
        assert!(!left("used"));
    }
}
