//! The mount points in a container's root file system.
//!
//! Owns making the working directory and the mount points that links of the image lead to without
//! anything being there (`/etc/resolv.conf` → `../run/systemd/resolve/stub-resolv.conf`): the OCI library
//! makes what is simply missing, but takes such a link for a broken image. Everything is resolved inside
//! the root. Never mounts anything.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Links followed on one way, as the kernel's own limit.
const LINK_LIMIT: usize = 40;

/// A container's root directory before its first process exists: nobody changes it meanwhile.
pub struct RootDir {
    root: OwnedFd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

impl RootDir {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::openat(CWD, path, flags, Mode::empty())? })
    }

    /// Makes the directory `path` where it is missing.
    pub fn ensure_dir(&self, path: &Path) -> io::Result<()> {
        self.ensure(path, Kind::Directory)
    }

    /// Makes the targets of the bind mounts of `spec` that lie on the root file system itself.
    ///
    /// # Errors
    /// In runc's words, where a point cannot be made or is a file where a directory comes, or the reverse.
    pub fn ensure_mount_points(&self, spec: &Spec) -> io::Result<()> {
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        for mount in mounts.iter().filter(|mount| mount.typ().as_deref() == Some("bind")) {
            let point = mount.destination();
            // What is inside another mount is not in the image.
            if mounts.iter().any(|m| m.destination() != point && point.starts_with(m.destination())) {
                continue;
            }
            let Some(source) = mount.source() else { continue };
            let kind = if source.is_dir() { Kind::Directory } else { Kind::File };
            self.ensure(point, kind).map_err(|error| {
                let why = reason(&error);
                let text = format!("error mounting {source:?} to rootfs at {point:?}: {why}");
                io::Error::new(error.kind(), text)
            })?;
        }
        Ok(())
    }

    fn ensure(&self, path: &Path, kind: Kind) -> io::Result<()> {
        let mut ahead: VecDeque<OsString> = VecDeque::new();
        prepend(&mut ahead, path);
        // The directories walked so far: no links, no dots.
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let parent = self.directory(&at)?;
            if let Some(target) = link_target(&parent, &name)? {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(Errno::LOOP.into());
                }
                if target.has_root() {
                    at.clear();
                }
                prepend(&mut ahead, &target);
                continue;
            }
            let is_last = ahead.is_empty();
            match is_last && kind == Kind::File {
                true => make_file(&parent, &name)?,
                false => make_directory(&parent, &name)?,
            }
            if is_last && is_directory(&parent, &name)? != (kind == Kind::Directory) {
                return Err(Errno::NOTDIR.into());
            }
            at.push(&name);
        }
        Ok(())
    }

    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        Ok(rustix::fs::openat2(&self.root, path, flags, Mode::empty(), inside)?)
    }
}

/// A failure in the C library's words and lower case, as other runtimes tell it.
pub fn reason(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |code| nix::errno::Errno::from_raw(code).desc().to_lowercase())
}

fn prepend(ahead: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(_) | Component::ParentDir => {
                ahead.push_front(component.as_os_str().to_owned());
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

fn link_target(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<PathBuf>> {
    match rustix::fs::readlinkat(parent, name, Vec::new()) {
        Ok(target) => Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes())))),
        // No link, or nothing at all.
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn is_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let status = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(status.st_mode).is_dir())
}

fn make_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn make_file(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn spec(mounts: &[(&str, &str)]) -> Spec {
        let mounts: Vec<_> = mounts
            .iter()
            .map(|(destination, source)| {
                serde_json::json!({"destination": destination, "type": "bind", "source": source})
            })
            .collect();
        serde_json::from_value(serde_json::json!({"ociVersion": "1.0.2", "mounts": mounts}))
            .expect("a specification")
    }

    #[test]
    fn points_behind_dangling_links_are_made_inside_the_root() -> io::Result<()> {
        let tmp = tempfile::tempdir()?;
        let (root, outside) = (tmp.path().join("root"), tmp.path().join("outside"));
        fs::create_dir_all(root.join("etc"))?;
        fs::create_dir(&outside)?;
        symlink("../run/systemd/resolv.conf", root.join("etc/resolv.conf"))?;
        symlink(format!("../../../../../../{}/hosts", outside.display()), root.join("etc/hosts"))?;
        symlink(&outside, root.join("data"))?;
        let file = tmp.path().join("file");
        fs::write(&file, "")?;
        let (file, dir) = (file.to_string_lossy(), tmp.path().to_string_lossy());
        RootDir::open(&root)?.ensure_mount_points(&spec(&[
            ("/etc/resolv.conf", &file),
            ("/etc/hosts", &file),
            ("/data/volume", &dir),
            ("/data/volume/inner", &dir),
            ("/plain/dir", &dir),
        ]))?;
        assert!(root.join("run/systemd/resolv.conf").is_file());
        let inside = root.join(outside.strip_prefix("/").expect("absolute"));
        assert!(inside.join("hosts").is_file());
        assert!(inside.join("volume").is_dir() && !inside.join("volume/inner").exists());
        assert!(root.join("plain/dir").is_dir());
        assert_eq!(fs::read_dir(&outside)?.count(), 0, "nothing is made outside");
        Ok(())
    }

    #[test]
    fn what_is_there_stays_and_a_loop_ends() -> io::Result<()> {
        let tmp = tempfile::tempdir()?;
        fs::write(tmp.path().join("file"), "kept")?;
        symlink("b", tmp.path().join("a"))?;
        symlink("a", tmp.path().join("b"))?;
        let root = RootDir::open(tmp.path())?;
        root.ensure(Path::new("/file"), Kind::File)?;
        assert_eq!(fs::read(tmp.path().join("file"))?, b"kept");
        root.ensure_dir(Path::new("/new/work/dir"))?;
        root.ensure_dir(Path::new("/"))?;
        assert!(tmp.path().join("new/work/dir").is_dir());
        assert!(root.ensure_dir(Path::new("/a/x")).is_err());
        assert!(root.ensure_dir(Path::new("/file/x")).is_err());
        Ok(())
    }

    #[test]
    fn a_directory_does_not_go_onto_a_file_nor_the_reverse() -> io::Result<()> {
        let tmp = tempfile::tempdir()?;
        let (root, source) = (tmp.path().join("root"), tmp.path().join("source"));
        fs::create_dir_all(root.join("dir"))?;
        fs::write(root.join("file"), "")?;
        fs::write(&source, "")?;
        let root = RootDir::open(&root)?;
        let told = |point: &str, source: &Path| {
            let mounted = root.ensure_mount_points(&spec(&[(point, &source.to_string_lossy())]));
            mounted.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let (dir, source) = (tmp.path(), source.as_path());
        assert_eq!(
            told("/file", dir),
            format!("error mounting {dir:?} to rootfs at \"/file\": not a directory")
        );
        assert_eq!(
            told("/dir", source),
            format!("error mounting {source:?} to rootfs at \"/dir\": not a directory")
        );
        assert_eq!((told("/file", source), told("/dir", dir)), (String::new(), String::new()));
        Ok(())
    }
}
