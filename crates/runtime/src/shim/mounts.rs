//! A container's root file system: mounted just before its first process is forked, detached from the
//! machine right after (the container's own mount namespace keeps it), so that nothing is left behind when
//! everything is killed.

use std::ffi::CString;
use std::io;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags};

use crate::rootfs::Overlay;

/// An overlay that is mounted; detached on drop.
pub struct MountedRoot<'a> {
    target: &'a Path,
}

impl<'a> MountedRoot<'a> {
    pub fn mount(overlay: &Overlay, target: &'a Path) -> io::Result<Self> {
        std::fs::create_dir_all(target)?;
        if mount_by_handle(overlay, target).is_err() {
            mount_by_options(overlay, target)?;
        }
        Ok(Self { target })
    }

    /// Makes the directory `path`, resolved inside the root: links lead nowhere else.
    pub fn ensure_dir(&self, path: &Path) -> io::Result<()> {
        let root = rustix::fs::openat(
            CWD,
            self.target,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let open = |at: &std::os::fd::OwnedFd, path: &Path| {
            rustix::fs::openat2(
                at,
                path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT,
            )
        };
        let relative = path.strip_prefix("/").unwrap_or(path);
        if relative.as_os_str().is_empty() || open(&root, relative).is_ok() {
            return Ok(());
        }
        let (mut parent, mut so_far) = (open(&root, Path::new("."))?, std::path::PathBuf::new());
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the working directory is not a plain path",
                ));
            };
            so_far.push(name);
            parent = match open(&root, &so_far) {
                Err(rustix::io::Errno::NOENT) => {
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    open(&root, &so_far)?
                }
                found => found?,
            };
        }
        Ok(())
    }
}

impl Drop for MountedRoot<'_> {
    fn drop(&mut self) {
        if let Err(error) = rustix::mount::unmount(self.target, UnmountFlags::DETACH) {
            complain!("{} stays mounted: {error}", self.target.display());
        }
    }
}

/// Layer by layer, without the page that limits mount options (Linux 6.5).
fn mount_by_handle(overlay: &Overlay, target: &Path) -> io::Result<()> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in &overlay.lower {
        rustix::mount::fsconfig_set_string(&fs, "lowerdir+", lower)?;
    }
    rustix::mount::fsconfig_set_string(&fs, "upperdir", &overlay.upper)?;
    rustix::mount::fsconfig_set_string(&fs, "workdir", &overlay.work)?;
    rustix::mount::fsconfig_create(&fs)?;
    let mount = rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    rustix::mount::move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

fn mount_by_options(overlay: &Overlay, target: &Path) -> io::Result<()> {
    let mut lower = String::new();
    for layer in &overlay.lower {
        if !lower.is_empty() {
            lower.push(':');
        }
        lower.push_str(&layer.to_string_lossy());
    }
    let options =
        format!("lowerdir={lower},upperdir={},workdir={}", overlay.upper.display(), overlay.work.display());
    let options = CString::new(options)?;
    rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())?;
    Ok(())
}
