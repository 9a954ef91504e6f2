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
/// Entries that vanish during the walk are not counted, nor those whose path is too long for the kernel.
pub fn of_dir(dir: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        match fs::symlink_metadata(&dir) {
            Ok(meta) => count(&meta, &mut linked, &mut usage),
            Err(e) if is_out_of_reach(&e) => continue,
            Err(e) => return Err(e),
        }
        let entries = match fs::read_dir(&dir) {
            Err(e) if is_out_of_reach(&e) => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => pending.push(entry.path()),
                Ok(meta) => count(&meta, &mut linked, &mut usage),
                Err(e) if is_out_of_reach(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(usage)
}

/// A container that nests its folders too deep must not keep the others from being counted.
fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
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
    use std::fs::File;

    use super::*;

    #[test]
    fn folders_nested_too_deep_keep_nobody_from_counting() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let top = dir.path().join("tree");
        fs::create_dir(&top)?;
        let mut at = File::open(&top)?;
        for _ in 0..600 {
            let name = "deep-enough";
            rustix::fs::mkdirat(&at, name, rustix::fs::Mode::RWXU)?;
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            at = rustix::fs::openat(&at, name, flags, rustix::fs::Mode::empty())?.into();
        }
        assert!(of_dir(&top)?.inodes > 300);
        base::remove_tree(&top)
    }

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
