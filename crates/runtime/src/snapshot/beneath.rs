//! File operations that cannot leave a directory, whatever symbolic links lie inside it.
//!
//! Every path is resolved by the kernel with `openat2(RESOLVE_IN_ROOT)`: absolute links and `..`
//! stay inside the root as after a chroot. The last component is never followed. Never interprets
//! whiteouts or archives.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// A directory that is used as `/`.
pub struct Root {
    fd: OwnedFd,
}

/// A directory entry: where it is and what it is called; it need not exist.
pub struct Place<'a> {
    pub dir: OwnedFd,
    pub name: &'a OsStr,
}

impl Root {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            fd: rustix::fs::openat(
                CWD,
                path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?,
        })
    }

    /// Opens the directory `path` (symbolic links inside the root are followed).
    pub fn dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, how, Mode::empty(), resolve) {
                // openat2(2): a concurrent rename made the walk ambiguous; try again.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// The place of `path`, whose directory must exist. `path` must not be empty or end in `..`.
    pub fn place<'a>(&self, path: &'a Path) -> io::Result<Place<'a>> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok(Place { dir: self.dir(path.parent().unwrap_or(Path::new("")))?, name })
    }
}

impl Place<'_> {
    /// What is there now, without following a link; nothing where nothing is.
    pub fn stat(&self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes what is there, with everything in it.
    pub fn remove_all(&self) -> io::Result<()> {
        let Some(stat) = self.stat()? else { return Ok(()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(rustix::fs::unlinkat(&self.dir, self.name, AtFlags::empty())?);
        }
        base::remove_tree(&fd_path(self.dir.as_fd()).join(self.name))
    }

    /// Opens what is there for reading its attributes, if it is a file or a directory.
    pub fn open(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(rustix::fs::openat(&self.dir, self.name, flags, mode)?)
    }
}

/// The path of an open descriptor, for calls that know only paths.
pub fn fd_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// A path from outside, cleaned without looking at any file: `/a/./b/../c` → `a/c`.
///
/// Nothing where it would climb above its start.
pub fn clean(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_are_cleaned_and_climbing_is_refused() {
        let check = |path: &str, want: Option<&str>| {
            assert_eq!(clean(Path::new(path)).as_deref(), want.map(Path::new), "{path}");
        };
        check("/a/./b/../c/", Some("a/c"));
        check("./", Some(""));
        check("a/..", Some(""));
        check("../a", None);
        check("a/../../b", None);
    }

    #[test]
    fn links_do_not_lead_outside() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let root_path = dir.path().join("root");
        fs::create_dir_all(root_path.join("etc"))?;
        fs::create_dir(dir.path().join("secret"))?;
        std::os::unix::fs::symlink("/etc", root_path.join("absolute"))?;
        std::os::unix::fs::symlink("../../../secret", root_path.join("climbing"))?;
        std::os::unix::fs::symlink("/proc/self/root", root_path.join("magic"))?;
        let root = Root::open(&root_path)?;
        let inside = root.dir(Path::new("absolute"))?;
        let real = rustix::fs::fstat(&inside)?.st_ino;
        assert_eq!(real, std::os::unix::fs::MetadataExt::ino(&fs::metadata(root_path.join("etc"))?));
        assert_eq!(root.dir(Path::new("climbing")).err(), Some(Errno::NOENT));
        assert_eq!(root.dir(Path::new("magic")).err(), Some(Errno::NOENT));
        Ok(())
    }
}
