//! The sockets below a folder, as they come and go.
//!
//! Inotify says when to look; what is there is then read anew, so that no event that was missed matters.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::inotify::AddWatchFlags;

use crate::logs::watch::FolderWatch;

/// How deep sockets may lie, and how many entries are looked at: plugins write here, and not only well-meaning ones.
const MAX_DEPTH: usize = 3;
const MAX_ENTRIES: usize = 1_000;

/// Which socket it is: one that is made again at the same path is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    inode: u64,
    changed: (i64, i64),
}

/// What a folder holds.
#[derive(Default)]
struct Content {
    sockets: Vec<(PathBuf, Identity)>,
    folders: Vec<PathBuf>,
}

/// See the module's documentation.
pub struct Sockets {
    folder: PathBuf,
    watch: FolderWatch,
}

impl Sockets {
    /// # Errors
    /// When the kernel's limit of inotify instances is reached.
    pub fn below(folder: PathBuf) -> io::Result<Self> {
        Ok(Self { folder, watch: FolderWatch::new()? })
    }

    /// The sockets that are there now.
    ///
    /// # Errors
    /// When the folder cannot be watched or read.
    pub fn look(&self) -> io::Result<BTreeMap<PathBuf, Identity>> {
        let (mut found, mut seen) = (BTreeMap::new(), 0);
        let mut open = vec![(self.folder.clone(), 1)];
        while let Some((folder, depth)) = open.pop() {
            match self.read(&folder, &mut seen) {
                Ok(Content { sockets, folders }) => {
                    found.extend(sockets);
                    if depth < MAX_DEPTH {
                        open.extend(folders.into_iter().map(|folder| (folder, depth + 1)));
                    }
                }
                // A folder in it may go at any time.
                Err(error) if folder != self.folder && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Waits until something may have changed. Cancellation safe.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn changed(&self) -> io::Result<()> {
        self.watch.next().await.map(drop)
    }

    fn read(&self, folder: &Path, seen: &mut usize) -> io::Result<Content> {
        let mask = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        // Before it is read, so that nothing is missed in between.
        self.watch.add(folder, mask)?;
        let mut content = Content::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            *seen += 1;
            if *seen > MAX_ENTRIES {
                tracing::warn!(folder = %folder.display(), "too many entries: the rest are not looked at");
                break;
            }
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                content.folders.push(entry.path());
            } else if meta.file_type().is_socket() {
                let changed = (meta.ctime(), meta.ctime_nsec());
                content.sockets.push((entry.path(), Identity { inode: meta.ino(), changed }));
            }
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn sockets_are_seen_wherever_they_appear_and_told_apart() {
        let dir = tempfile::tempdir().expect("a folder");
        let sockets = Sockets::below(dir.path().to_owned()).expect("watched");
        let names = |found: &BTreeMap<PathBuf, Identity>| {
            found
                .keys()
                .map(|path| path.strip_prefix(dir.path()).expect("below").to_owned())
                .collect::<Vec<_>>()
        };
        assert!(sockets.look().expect("looked").is_empty());
        fs::create_dir(dir.path().join("sub")).expect("made");
        fs::write(dir.path().join("file"), "x").expect("written");
        sockets.changed().await.expect("told");
        assert!(sockets.look().expect("looked").is_empty());
        let _deep = UnixListener::bind(dir.path().join("sub/a.sock")).expect("bound");
        sockets.changed().await.expect("told of a folder that came later");
        let _hidden = UnixListener::bind(dir.path().join(".b.sock")).expect("bound");
        let first = sockets.look().expect("looked");
        assert_eq!(names(&first), [PathBuf::from("sub/a.sock")]);
        fs::remove_file(dir.path().join("sub/a.sock")).expect("removed");
        let _again = UnixListener::bind(dir.path().join("sub/a.sock")).expect("bound");
        let second = sockets.look().expect("looked");
        assert_ne!(first, second, "it is another socket");
    }
}
