//! Folders of volumes: plain ones and those in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{VolumeError, mount_table};

/// Makes `path` and its parents; a folder that is there stays as it is.
///
/// # Errors
/// When the disk refuses.
pub fn make(path: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(path).map_err(|e| VolumeError::disk("creating", path, e))
}

/// Makes `path` a tmpfs, unless it is one already.
///
/// # Errors
/// When the disk or the kernel refuses.
pub fn make_in_memory(path: &Path, size_bytes: Option<u64>) -> Result<(), VolumeError> {
    make(path)?;
    let mounted = mount_table::is_mount_point(path).map_err(|e| VolumeError::disk("reading", path, e))?;
    if mounted { Ok(()) } else { mount_table::mount_tmpfs(path, size_bytes) }
}

/// Lets everybody look into `path`, whatever the umask was when it was made.
///
/// # Errors
/// When the disk refuses.
pub fn open_to_all(path: &Path) -> Result<(), VolumeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
        .map_err(|e| VolumeError::disk("setting the mode of", path, e))
}
