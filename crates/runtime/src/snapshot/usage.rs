//! How much disk a directory takes.
//!
//! Owns the walk. Never follows symbolic links or counts a hard-linked file twice.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::rootfs::Usage;

/// Blocks in use and inodes of everything in `dir`, itself included.
///
/// Entries that vanish during the walk are not counted.
pub fn of_dir(dir: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        match fs::symlink_metadata(&dir) {
            Ok(meta) => count(&meta, &mut linked, &mut usage),
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        }
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => pending.push(entry.path()),
                Ok(meta) => count(&meta, &mut linked, &mut usage),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(usage)
}

fn count(meta: &fs::Metadata, linked: &mut HashSet<(u64, u64)>, usage: &mut Usage) {
    if meta.nlink() > 1 && !meta.is_dir() && !linked.insert((meta.dev(), meta.ino())) {
        return;
    }
    usage.used_bytes += meta.blocks() * 512;
    usage.inodes += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_count_once() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("d"))?;
        fs::write(dir.path().join("d/a"), vec![1; 100_000])?;
        let one = of_dir(dir.path())?;
        fs::hard_link(dir.path().join("d/a"), dir.path().join("b"))?;
        assert_eq!(of_dir(dir.path())?, one);
        assert_eq!(one.inodes, 3);
        assert!(one.used_bytes >= 100_000);
        Ok(())
    }
}
