//! Deleting a folder whose content is not trusted.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Deletes `path` with everything in it, however deep it nests: containers can nest folders deeper than a thread
/// has stack, or a process descriptors, to descend. So nothing descends: each folder's own folders are moved up
/// first, until there is one level alone. Links are removed, never followed. Blocks on the disk.
///
/// # Errors
/// `NotFound` when there is nothing; whatever the kernel refuses (below a mount point nothing is touched: it is
/// `CrossesDevices`). What is left
/// then can be removed by another call.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match open(CWD, path) {
        Ok(root) => root,
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        Err(error) => return Err(error.into()),
    };
    let salt = u64::from_ne_bytes(crate::random::bytes());
    let mut moved = 0u64;
    let mut folders = empty(&root)?;
    while let Some(name) = folders.pop() {
        let folder = match open_inside(&root, &name) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        for inner in empty(&folder)? {
            let outer = format!(".removed-{salt:016x}-{moved}");
            moved += 1;
            match rustix::fs::renameat(&folder, inner.as_c_str(), &root, outer.as_str()) {
                Ok(()) => folders.push(CString::new(outer)?),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        remove(&root, &name, AtFlags::REMOVEDIR)?;
    }
    std::fs::remove_dir(path)
}

fn open(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// The same of a folder that is no mount point.
fn open_inside(at: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(at, name, flags, Mode::empty(), within)
}

/// Removes all entries that are not folders; returns the names of the folders.
fn empty(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut folders = Vec::new();
    let mut others = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => folders.push(name.to_owned()),
            FileType::Unknown if is_folder(folder, name)? => folders.push(name.to_owned()),
            _ => others.push(name.to_owned()),
        }
    }
    for name in others {
        remove(folder, &name, AtFlags::empty())?;
    }
    Ok(folders)
}

/// For file systems that do not say in their lists.
fn is_folder(at: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn remove(at: &OwnedFd, name: &CStr, flags: AtFlags) -> io::Result<()> {
    match rustix::fs::unlinkat(at, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_stack_goes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let top = dir.path().join("tree");
        std::fs::create_dir(&top).expect("made");
        let mut at = open(CWD, &top).expect("opened");
        for _ in 0..20_000 {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).expect("made");
            at = open(&at, c"d").expect("opened");
        }
        drop(at);
        remove_tree(&top).expect("removed");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn wide_trees_go_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (kept, tree) = (dir.path().join("kept"), dir.path().join("tree"));
        std::fs::create_dir_all(kept.join("inside")).expect("made");
        for folder in ["a/b/c", "a/b/d", "e/f"] {
            std::fs::create_dir_all(tree.join(folder)).expect("made");
            std::fs::write(tree.join(folder).join("file"), "x").expect("written");
            std::os::unix::fs::symlink(&kept, tree.join(folder).join("link")).expect("linked");
        }
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists() && kept.join("inside").exists());
        assert_eq!(remove_tree(&tree).expect_err("nothing there").kind(), io::ErrorKind::NotFound);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&kept, &link).expect("linked");
        remove_tree(&link).expect("the link is removed");
        assert!(kept.join("inside").exists() && link.symlink_metadata().is_err());
    }
}
