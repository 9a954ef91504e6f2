//! `subPath`: one place inside a volume, mounted without trusting what is in the volume.
//!
//! A container can replace any part of the path by a link while it is resolved. So the kernel
//! resolves it beneath the volume's folder (openat2) and what it found is bound through its open
//! file, never by name again (upstream's CVE-2017-1002101 and CVE-2021-25741).

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{VolumeError, mount_table};

/// Binds `subpath` of the folder or file `volume` to `target` and returns `target`. What does not
/// exist in the volume is made, as folders. A place bound before is bound anew: it may have changed.
///
/// # Errors
/// When the sub path leaves the volume or the kernel refuses.
pub fn bind(volume: &Path, subpath: &str, target: &Path) -> Result<PathBuf, VolumeError> {
    let found = open_beneath(volume, subpath)?;
    let kind = rustix::fs::fstat(&found).map_err(|e| VolumeError::disk("reading", volume, e))?.st_mode;
    mount_table::unmount_under(target)?;
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent).map_err(|e| VolumeError::disk("creating", parent, e))?;
    let is_dir = FileType::from_raw_mode(kind) == FileType::Directory;
    match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_dir() == is_dir => {}
        Ok(meta) => {
            let removed = if meta.is_dir() { fs::remove_dir(target) } else { fs::remove_file(target) };
            removed.map_err(|e| VolumeError::disk("removing", target, e))?;
            make_target(target, is_dir)?;
        }
        Err(_) => make_target(target, is_dir)?,
    }
    let through = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    mount_table::bind(&through, target)?;
    Ok(target.to_owned())
}

fn make_target(target: &Path, is_dir: bool) -> Result<(), VolumeError> {
    let made = if is_dir { fs::create_dir(target) } else { fs::File::create_new(target).map(drop) };
    made.map_err(|e| VolumeError::disk("creating", target, e))
}

/// Opens (as a path only) `subpath` beneath `volume`, making missing folders on the way.
fn open_beneath(volume: &Path, subpath: &str) -> Result<OwnedFd, VolumeError> {
    let relative = Path::new(subpath);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(VolumeError::PathInvalid(subpath.to_owned()));
    }
    let fail = |e: Errno| VolumeError::disk("resolving a subPath of", volume, e);
    let root = rustix::fs::open(volume, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    match open_one(root.as_fd(), relative) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(fail),
    }
    // What is made looks like the volume's own folder, so that the pod's group can use it.
    let like = rustix::fs::fstat(&root).map_err(fail)?.st_mode & 0o7777;
    let mut at = root;
    for part in relative.components().filter(|c| matches!(c, Component::Normal(_))) {
        let part = Path::new(part.as_os_str());
        at = match open_one(at.as_fd(), part) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                let made = rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o700));
                let next = match made {
                    Ok(()) | Err(Errno::EXIST) => open_one(at.as_fd(), part).map_err(fail)?,
                    Err(e) => return Err(fail(e)),
                };
                if made.is_ok() {
                    let through = format!("/proc/self/fd/{}", next.as_raw_fd());
                    rustix::fs::chmod(&through, Mode::from_raw_mode(like)).map_err(fail)?;
                }
                next
            }
            Err(e) => return Err(fail(e)),
        };
    }
    Ok(at)
}

fn open_one(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        match rustix::fs::openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how) {
            // The tree changed under the kernel's feet (openat2(2)): look again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether this kernel can resolve beneath a folder (Linux 5.6).
pub fn supported() -> bool {
    let flags = ResolveFlags::BENEATH;
    rustix::fs::openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags).is_ok()
}

#[cfg(test)]
mod privileged {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn binds_inside_and_never_outside() {
        let dir = tempfile::tempdir().expect("a folder");
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("real")).expect("made");
        fs::write(volume.join("real/file"), "in").expect("written");
        fs::write(dir.path().join("secret"), "out").expect("written");
        symlink("real", volume.join("inside")).expect("linked");
        symlink("../secret", volume.join("outside")).expect("linked");
        symlink("/etc", volume.join("absolute")).expect("linked");
        let target = |n: &str| dir.path().join("targets").join(n);

        bind(&volume, "inside/file", &target("0")).expect("bound");
        assert_eq!(fs::read_to_string(target("0")).expect("readable"), "in");
        bind(&volume, "new/deep", &target("1")).expect("made and bound");
        assert!(volume.join("new/deep").is_dir() && target("1").is_dir());
        for bad in ["outside", "absolute/passwd", "../secret", "/etc"] {
            assert!(bind(&volume, bad, &target("2")).is_err(), "{bad}");
        }
        assert_eq!(mount_table::under(dir.path()).expect("listed").len(), 2);
        bind(&volume, "real", &target("0")).expect("bound anew, as a folder");
        assert!(target("0").join("file").exists());
        mount_table::unmount_under(dir.path()).expect("unmounted");
        assert!(mount_table::under(dir.path()).expect("listed").is_empty());
    }
}
