//! A container's root file system: mounted just before its first process is forked, detached from the
//! machine right after (the container's own mount namespace keeps it), so that nothing is left behind when
//! everything is killed.

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags};

use crate::mountpoints::RootDir;
use crate::protocol::Overlay;

/// An overlay that is mounted; detached on drop.
pub struct MountedRoot<'a> {
    target: &'a Path,
}

impl<'a> MountedRoot<'a> {
    pub fn mount(overlay: &Overlay, target: &'a Path) -> io::Result<Self> {
        mount_overlay(overlay, target)?;
        Ok(Self { target })
    }

    /// The directory it is mounted on, to look into.
    pub fn dir(&self) -> io::Result<RootDir> {
        RootDir::open(self.target)
    }
}

impl Drop for MountedRoot<'_> {
    fn drop(&mut self) {
        if let Err(error) = rustix::mount::unmount(self.target, UnmountFlags::DETACH) {
            complain!("{} stays mounted: {error}", self.target.display());
        }
    }
}

/// Mounts an overlay on a directory, which is made where it is missing. Whoever calls unmounts it.
///
/// # Errors
/// When the kernel refuses.
pub fn mount_overlay(overlay: &Overlay, target: &Path) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    if mount_by_handle(overlay, target).is_err() {
        mount_by_options(overlay, target)?;
    }
    Ok(())
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
