//! Keeps logs small: a log that is too long is renamed and the runtime told to open a new one.
//!
//! Start at [`Rotation::run`]. Inotify reports growth; while logs grow, the rotation looks at them at
//! most once per [`Policy::pace`], since the kernel folds repeated events while nobody reads them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::{Clock, Shutdown};
use jiff::Timestamp;
use nix::sys::inotify::{AddWatchFlags, WatchDescriptor};

use super::stream::attempts;
use super::watch::FolderWatch;

/// When a log is rotated and what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Upstream's `containerLogMaxSize`.
    pub max_bytes: u64,
    /// Upstream's `containerLogMaxFiles`, the current one included; at least 2.
    pub max_files: usize,
    /// The shortest time between two looks.
    pub pace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_bytes: 10 << 20, max_files: 5, pace: Duration::from_secs(5) }
    }
}

/// Makes whoever writes a log open it anew.
#[async_trait]
pub trait Reopen: Send + Sync {
    /// `Ok(false)` when no running container writes to `log`.
    ///
    /// # Errors
    /// The runtime's words.
    async fn reopen(&self, log: &Path) -> Result<bool, String>;
}

/// Watches the folder of all logs: `ROOT/POD/CONTAINER/N.log`.
pub struct Rotation {
    pub root: PathBuf,
    pub policy: Policy,
    pub reopen: Arc<dyn Reopen>,
    pub clock: Arc<dyn Clock>,
}

impl Rotation {
    /// Runs until `shutdown`. No work while nothing is logged.
    ///
    /// # Errors
    /// When the root cannot be watched.
    pub async fn run(&self, shutdown: Shutdown) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let watch = FolderWatch::new()?;
        let mut folders = Folders::default();
        let mut due = folders.add_tree(&watch, &self.root, 0)?;
        loop {
            for folder in std::mem::take(&mut due) {
                self.look(&folder).await;
            }
            tokio::select! {
                () = shutdown.started() => return Ok(()),
                happened = watch.happened() => happened?,
            }
            tokio::select! {
                () = shutdown.started() => return Ok(()),
                () = tokio::time::sleep(self.policy.pace) => {}
            }
            // A wait here would have no end at shutdown: `happened` may say so once too often.
            for event in watch.take()? {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    due.extend(folders.add_tree(&watch, &self.root, 0)?);
                } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    folders.known.remove(&event.watch);
                } else if let Some((folder, depth)) = folders.known.get(&event.watch).cloned() {
                    match event.name {
                        Some(name) if depth < CONTAINER_DEPTH => {
                            due.extend(folders.add_tree(&watch, &folder.join(name), depth + 1)?);
                        }
                        _ => {
                            due.insert(folder);
                        }
                    }
                }
            }
        }
    }

    /// Rotates the current log of one container if it is too long.
    async fn look(&self, folder: &Path) {
        let Ok(logs) = attempts(folder) else { return };
        let Some(log) = logs.back() else { return };
        match fs::metadata(log) {
            Ok(meta) if meta.len() >= self.policy.max_bytes => {}
            _ => return,
        }
        if let Err(error) = self.rotate(log).await {
            tracing::warn!(log = %log.display(), %error, "a log could not be rotated");
        }
    }

    async fn rotate(&self, log: &Path) -> Result<(), String> {
        let aside = rotated_name(log, self.clock.now());
        fs::rename(log, &aside).map_err(|e| e.to_string())?;
        let reopened = self.reopen.reopen(log).await;
        if !matches!(reopened, Ok(true)) {
            // Nobody writes a new one: the log stays where readers look for it.
            fs::rename(&aside, log).map_err(|e| e.to_string())?;
            return reopened.map(drop);
        }
        for old in surplus(log, self.policy.max_files).map_err(|e| e.to_string())? {
            fs::remove_file(&old).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// The depth of a container's folder under the root.
const CONTAINER_DEPTH: usize = 2;

#[derive(Default)]
struct Folders {
    known: HashMap<WatchDescriptor, (PathBuf, usize)>,
}

impl Folders {
    /// Watches `folder` and what is in it; the containers' folders there.
    fn add_tree(
        &mut self,
        watch: &FolderWatch,
        folder: &Path,
        depth: usize,
    ) -> io::Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        let kind = if depth == CONTAINER_DEPTH {
            AddWatchFlags::IN_MODIFY
        } else {
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO
        };
        let mask = kind | AddWatchFlags::IN_ONLYDIR | AddWatchFlags::IN_DONT_FOLLOW;
        match watch.add(folder, mask) {
            Ok(descriptor) => {
                self.known.insert(descriptor, (folder.to_owned(), depth));
            }
            // Gone again, or a file: nothing to watch.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(found);
            }
            Err(e) => return Err(e),
        }
        if depth == CONTAINER_DEPTH {
            found.insert(folder.to_owned());
            return Ok(found);
        }
        for entry in fs::read_dir(folder)? {
            found.extend(self.add_tree(watch, &entry?.path(), depth + 1)?);
        }
        Ok(found)
    }
}

/// `0.log.20261121-100000`, as upstream.
fn rotated_name(log: &Path, now: Timestamp) -> PathBuf {
    let time = now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string();
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    log.with_file_name(format!("{name}.{time}"))
}

/// The oldest rotated files beyond what is kept beside the current one.
fn surplus(log: &Path, max_files: usize) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{}.", log.file_name().unwrap_or_default().to_string_lossy());
    let mut old = Vec::new();
    for entry in fs::read_dir(log.parent().unwrap_or(log))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)) {
            old.push(path);
        }
    }
    old.sort();
    let keep = max_files.max(2) - 1;
    old.truncate(old.len().saturating_sub(keep));
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SystemClock;
    use tokio::sync::mpsc;

    struct Record(mpsc::UnboundedSender<PathBuf>);

    #[async_trait]
    impl Reopen for Record {
        async fn reopen(&self, log: &Path) -> Result<bool, String> {
            fs::write(log, b"").map_err(|e| e.to_string())?;
            self.0.send(log.to_owned()).map_err(|e| e.to_string())?;
            Ok(true)
        }
    }

    #[tokio::test]
    async fn a_rotation_ends_at_shutdown_also_after_a_false_alarm() {
        let dir = tempfile::tempdir().expect("a folder");
        let (told, _heard) = mpsc::unbounded_channel();
        let policy = Policy { max_bytes: 100, max_files: 3, pace: Duration::from_millis(1) };
        let root = dir.path().join("pods");
        let reopen = Arc::new(Record(told));
        let rotation = Rotation { root: root.clone(), policy, reopen, clock: Arc::new(SystemClock) };
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let scenario = async {
            let folder = root.join("ns_p_u/c");
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("0.log"), "short").expect("written");
            // Long enough for the change to be looked at, and for what only may have happened after it.
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.start();
        };
        let run = tokio::time::timeout(Duration::from_secs(10), rotation.run(shutdown));
        let (run, ()) = tokio::join!(run, scenario);
        run.expect("it ends").expect("ran");
    }

    #[tokio::test]
    async fn long_logs_are_rotated_wherever_they_appear() {
        let dir = tempfile::tempdir().expect("a folder");
        let (told, mut heard) = mpsc::unbounded_channel();
        let policy = Policy { max_bytes: 100, max_files: 3, pace: Duration::from_millis(5) };
        let root = dir.path().join("pods");
        let reopen = Arc::new(Record(told));
        let rotation = Rotation { root: root.clone(), policy, reopen, clock: Arc::new(SystemClock) };
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let scenario = async {
            let folder = root.join("ns_p_u/c");
            fs::create_dir_all(&folder).expect("made");
            for name in ["1.log.20200101-000000", "1.log.20200102-000000", "0.log"] {
                fs::write(folder.join(name), "old").expect("written");
            }
            fs::write(folder.join("1.log"), vec![b'x'; 200]).expect("written");
            assert_eq!(heard.recv().await.expect("told"), folder.join("1.log"));
            stop.start();
            folder
        };
        let (run, folder) = tokio::join!(rotation.run(shutdown), scenario);
        run.expect("ran");
        let mut names: Vec<String> = fs::read_dir(&folder)
            .expect("there")
            .map(|e| e.expect("one").file_name().to_string_lossy().into())
            .collect();
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(names[..3], ["0.log", "1.log", "1.log.20200102-000000"]);
    }
}
