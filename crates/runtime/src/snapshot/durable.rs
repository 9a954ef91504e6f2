//! Files that are either old or new after a crash, never half.
//!
//! Owns atomic replacement and directory fsync. Never knows what the files hold.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Makes renames and removals inside `dir` survive a power loss.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Replaces `path` by `bytes` atomically. Concurrent writers of one path must be kept apart.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let mut file = File::create(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    match path.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}
