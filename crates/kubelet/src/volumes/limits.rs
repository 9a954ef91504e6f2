//! `sizeLimit` of `emptyDir` on disk: a pod that writes more is evicted.
//!
//! Inotify reports writes; while a volume is written to, usage is measured at most once per
//! [`PACE`]. Volumes without a limit cost nothing, and those in memory have the kernel's own limit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, WatchDescriptor};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};

use crate::logs::watch::FolderWatch;
use crate::seams::OverLimit;

const PACE: Duration = Duration::from_secs(1);
/// Volumes over their limit that may wait to be heard of.
const QUEUE: usize = 64;

/// A volume's limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub uid: String,
    pub volume: String,
    pub bytes: u64,
    /// As the pod has it (`1Gi`), for the message.
    pub text: String,
}

impl Limit {
    fn exceeded(&self) -> OverLimit {
        let message =
            format!("Usage of EmptyDir volume \"{}\" exceeds the limit \"{}\". ", self.volume, self.text);
        OverLimit { pod_uid: self.uid.clone(), message }
    }
}

/// All limited volumes of the node.
pub struct Limits {
    tracked: Mutex<BTreeMap<PathBuf, Limit>>,
    changed: Notify,
    pace: Duration,
    over: mpsc::Sender<OverLimit>,
    found: AsyncMutex<mpsc::Receiver<OverLimit>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::paced(PACE)
    }
}

impl Limits {
    fn paced(pace: Duration) -> Self {
        let (over, found) = mpsc::channel(QUEUE);
        Self { tracked: Mutex::default(), changed: Notify::new(), pace, over, found: AsyncMutex::new(found) }
    }

    /// Watches `folder` from now on; a folder already watched changes nothing.
    pub fn track(&self, folder: PathBuf, limit: Limit) {
        if self.lock().insert(folder, limit).is_none() {
            self.changed.notify_one();
        }
    }

    pub fn forget(&self, uid: &str) {
        self.lock().retain(|_, limit| limit.uid != uid);
    }

    /// The next volume found over its limit. Cancellation safe.
    pub async fn next(&self) -> OverLimit {
        match self.found.lock().await.recv().await {
            Some(over) => over,
            None => std::future::pending().await,
        }
    }

    /// Watches and measures, for ever.
    pub async fn run(&self) {
        loop {
            if let Err(error) = self.follow().await {
                tracing::warn!(%error, "volumes' size limits cannot be watched");
                // Without watches limits are not enforced; with the next limited volume it is tried again.
                self.changed.notified().await;
            }
        }
    }

    async fn follow(&self) -> io::Result<()> {
        let watch = FolderWatch::new()?;
        let mut trees = Trees::default();
        loop {
            let mut due = self.new_trees(&watch, &mut trees);
            if due.is_empty() {
                tokio::select! {
                    () = self.changed.notified() => continue,
                    happened = watch.happened() => happened?,
                }
                tokio::time::sleep(self.pace).await;
                due = trees.take(&watch, watch.take()?);
            }
            for root in due {
                self.measure(root).await;
            }
        }
    }

    fn new_trees(&self, watch: &FolderWatch, trees: &mut Trees) -> BTreeSet<PathBuf> {
        let tracked: BTreeSet<PathBuf> = self.lock().keys().cloned().collect();
        trees.roots.retain(|root| tracked.contains(root));
        let new: BTreeSet<PathBuf> = tracked.difference(&trees.roots).cloned().collect();
        for root in &new {
            trees.add(watch, root, root);
            trees.roots.insert(root.clone());
        }
        new
    }

    async fn measure(&self, root: PathBuf) {
        let Some(limit) = self.lock().get(&root).cloned() else { return };
        let folder = root.clone();
        let used = tokio::task::spawn_blocking(move || used_bytes(&folder)).await.unwrap_or_default();
        if used > limit.bytes
            && self.lock().remove(&root).is_some()
            && self.over.send(limit.exceeded()).await.is_err()
        {
            tracing::warn!(root = %root.display(), "nobody listens for volumes over their limit");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Limit>> {
        self.tracked.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Which watch belongs to which volume.
#[derive(Default)]
struct Trees {
    roots: BTreeSet<PathBuf>,
    /// The watched folder and its volume.
    known: HashMap<WatchDescriptor, (PathBuf, PathBuf)>,
}

impl Trees {
    /// Watches a folder and those in it. Not by recursion: containers nest as deep as they like.
    fn add(&mut self, watch: &FolderWatch, root: &Path, folder: &Path) {
        let mask = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            // Gone again, or no folder. Where the kernel allows no more watches the others must do.
            let Ok(descriptor) = watch.add(&folder, mask) else { continue };
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    open.push(entry.path());
                }
            }
            self.known.insert(descriptor, (folder, root.to_owned()));
        }
    }

    /// The volumes that events concern; new folders are watched too.
    fn take(&mut self, watch: &FolderWatch, events: Vec<crate::logs::watch::Event>) -> BTreeSet<PathBuf> {
        let mut due = BTreeSet::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                due.extend(self.roots.iter().cloned());
            } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.known.remove(&event.watch);
            } else if let Some((folder, root)) = self.known.get(&event.watch).cloned() {
                if event.mask.contains(AddWatchFlags::IN_ISDIR)
                    && let Some(name) = &event.name
                {
                    self.add(watch, &root, &folder.join(name));
                }
                due.insert(root);
            }
        }
        due
    }
}

/// What the files under `folder` take on disk, links to one file counted once. Blocks.
fn used_bytes(folder: &Path) -> u64 {
    let (mut total, mut seen, mut open) = (0u64, HashSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() > 1 && !meta.is_dir() && !seen.insert((meta.dev(), meta.ino())) {
                continue;
            }
            total = total.saturating_add(meta.blocks().saturating_mul(512));
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn whoever_writes_too_much_is_named_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let limits = Arc::new(Limits::paced(Duration::from_millis(2)));
        let mut tasks = tokio::task::JoinSet::new();
        let runner = limits.clone();
        tasks.spawn(async move { runner.run().await });
        for (name, uid) in [("small", "u1"), ("big", "u2")] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).expect("made");
            let limit = Limit { uid: uid.into(), volume: name.into(), bytes: 64 << 10, text: "64Ki".into() };
            limits.track(folder, limit);
        }
        fs::write(dir.path().join("small/file"), vec![1; 4096]).expect("written");
        let deep = dir.path().join("big/new/deep");
        fs::create_dir_all(&deep).expect("made");
        fs::write(deep.join("file"), vec![1; 128 << 10]).expect("written");
        let over = limits.next().await;
        assert_eq!(over.pod_uid, "u2");
        assert_eq!(over.message, "Usage of EmptyDir volume \"big\" exceeds the limit \"64Ki\". ");
        assert_eq!(limits.lock().len(), 1, "it is not named again");
        limits.forget("u1");
        assert!(limits.lock().is_empty());
        // The pods are cleared away; later ones are watched as the first were.
        fs::remove_dir_all(dir.path().join("small")).expect("removed");
        fs::remove_dir_all(dir.path().join("big")).expect("removed");
        let folder = dir.path().join("later");
        fs::create_dir(&folder).expect("made");
        let limit = Limit { uid: "u3".into(), volume: "later".into(), bytes: 1024, text: "1Ki".into() };
        limits.track(folder.clone(), limit);
        fs::write(folder.join("file"), vec![1; 64 << 10]).expect("written");
        assert_eq!(limits.next().await.pod_uid, "u3");
        tasks.shutdown().await;
    }
}
