//! The mount points in a container's root file system.
//!
//! Owns making the working directory and the mount points, and following the image's links on the way to them
//! (`/etc` → `usr/etc`, `/etc/resolv.conf` → `../run/systemd/resolve/stub-resolv.conf`): the OCI library takes such links
//! for a broken image, and does not say which. Everything is resolved inside the root. Never mounts anything.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use libcontainer::oci_spec::runtime::{Mount, Spec};
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
        self.ensure(path, Kind::Directory).map(drop)
    }

    /// Makes the targets of the mounts of `spec` that lie on the root file system itself, and has the mounts go where
    /// the image's links lead. True where that changed the specification.
    ///
    /// # Errors
    /// In runc's words, where a point cannot be made, is a file where a directory comes, or the reverse, or where proc
    /// or sysfs would come on anything but a directory.
    pub fn ensure_mount_points(&self, spec: &mut Spec) -> io::Result<bool> {
        let mut mounts = spec.mounts().clone().unwrap_or_default();
        let points: Vec<PathBuf> = mounts.iter().map(|mount| mount.destination().clone()).collect();
        let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
        for mount in &mounts {
            let point = mount.destination();
            // What is inside another mount is not in the image.
            if points.iter().any(|other| other != point && point.starts_with(other)) {
                continue;
            }
            let resolved = self.mount_point(mount).map_err(|error| {
                let source = mount.source().clone().unwrap_or_default();
                let text = format!("error mounting {source:?} to rootfs at {point:?}: {}", reason(&error));
                io::Error::new(error.kind(), text)
            })?;
            if resolved != *point {
                moved.push((point.clone(), resolved));
            }
        }
        for mount in &mut mounts {
            let goes = moved.iter().find_map(|(from, to)| {
                let rest = mount.destination().strip_prefix(from).ok()?;
                Some(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
            });
            if let Some(to) = goes {
                mount.set_destination(to);
            }
        }
        spec.set_mounts(Some(mounts));
        Ok(!moved.is_empty())
    }

    /// Where a mount goes.
    fn mount_point(&self, mount: &Mount) -> io::Result<PathBuf> {
        let point = mount.destination();
        match (mount.typ().as_deref(), mount.source()) {
            // Programs trust what they find there: nothing the image says leads to another place.
            (Some(kind @ ("proc" | "sysfs")), _) => match self.is_plain_directory(point) {
                Ok(true) => Ok(point.clone()),
                Ok(false) => {
                    let text = format!("filesystem {kind:?} must be mounted on ordinary directory");
                    Err(io::Error::new(io::ErrorKind::NotADirectory, text))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(point.clone()),
                Err(error) => Err(error),
            },
            (Some("bind"), Some(source)) if !source.is_dir() => self.ensure(point, Kind::File),
            (Some("bind"), None) => Ok(point.clone()),
            _ => self.ensure(point, Kind::Directory),
        }
    }

    /// Whether there is a directory, and no link on the way.
    fn is_plain_directory(&self, path: &Path) -> io::Result<bool> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        match self.directory(relative) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes what is missing on the way to `path`; where the way leads.
    fn ensure(&self, path: &Path, kind: Kind) -> io::Result<PathBuf> {
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
        Ok(Path::new("/").join(at))
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

    fn destinations(spec: &Spec) -> Vec<&Path> {
        spec.mounts().iter().flatten().map(|mount| mount.destination().as_path()).collect()
    }

    /// An image whose directories are links: merged `/etc`, a `/proc` that leads elsewhere.
    #[test]
    fn links_are_followed_but_not_for_proc_and_sysfs() -> io::Result<()> {
        let tmp = tempfile::tempdir()?;
        let (root, file) = (tmp.path().join("root"), tmp.path().join("file"));
        fs::create_dir_all(root.join("usr/etc"))?;
        fs::write(&file, "")?;
        symlink("usr/etc", root.join("etc"))?;
        symlink("/devices", root.join("dev"))?;
        let mut plain = spec(&[("/etc/hosts", &file.to_string_lossy())]);
        let mut mounts = plain.mounts().clone().expect("mounts");
        for (destination, kind) in [("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts")] {
            let mount = serde_json::json!({"destination": destination, "type": kind, "source": kind});
            mounts.push(serde_json::from_value(mount).expect("a mount"));
        }
        plain.set_mounts(Some(mounts));
        let dir = RootDir::open(&root)?;
        assert!(dir.ensure_mount_points(&mut plain)?);
        assert_eq!(
            destinations(&plain),
            ["/usr/etc/hosts", "/proc", "/devices", "/devices/pts"].map(Path::new)
        );
        assert!(root.join("usr/etc/hosts").is_file() && root.join("devices").is_dir());
        assert!(!dir.ensure_mount_points(&mut plain)?, "nothing is left to be changed");
        let wrong = |make: &dyn Fn(&Path) -> io::Result<()>| -> io::Result<String> {
            make(&root.join("proc"))?;
            let error = dir.ensure_mount_points(&mut plain.clone()).expect_err("refused");
            fs::remove_file(root.join("proc"))?;
            Ok(error.to_string())
        };
        let told = "error mounting \"proc\" to rootfs at \"/proc\": filesystem \"proc\" must be mounted on ordinary directory";
        assert_eq!(wrong(&|path| symlink("usr", path))?, told);
        assert_eq!(wrong(&|path| symlink("nowhere", path))?, told);
        assert_eq!(wrong(&|path| fs::write(path, ""))?, told);
        Ok(())
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
        let mut spec = spec(&[
            ("/etc/resolv.conf", &file),
            ("/etc/hosts", &file),
            ("/data/volume", &dir),
            ("/data/volume/inner", &dir),
            ("/plain/dir", &dir),
        ]);
        assert!(RootDir::open(&root)?.ensure_mount_points(&mut spec)?);
        let volume = outside.join("volume");
        let inner = volume.join("inner");
        assert_eq!(
            destinations(&spec),
            [
                Path::new("/run/systemd/resolv.conf"),
                &outside.join("hosts"),
                &volume,
                &inner,
                Path::new("/plain/dir")
            ]
        );
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
            let mounted = root.ensure_mount_points(&mut spec(&[(point, &source.to_string_lossy())]));
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
