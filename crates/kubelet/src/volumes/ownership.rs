//! `fsGroup`: a volume's files belong to the pod's group.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use super::VolumeError;

/// What the group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// Gives everything under `folder` to `group`, with the bits upstream adds: readable (and writable),
/// folders searchable and set-group-id so that new files belong to the group too. Links are given
/// away themselves, never what they point to.
///
/// # Errors
/// When the disk refuses.
pub fn give_to_group(folder: &Path, group: u32, access: Access) -> Result<(), VolumeError> {
    give_one(folder, group, access)?;
    let entries = fs::read_dir(folder).map_err(|e| VolumeError::disk("reading", folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| VolumeError::disk("reading", folder, e))?;
        let kind = entry.file_type().map_err(|e| VolumeError::disk("reading", folder, e))?;
        if kind.is_dir() {
            give_to_group(&entry.path(), group, access)?;
        } else {
            give_one(&entry.path(), group, access)?;
        }
    }
    Ok(())
}

fn give_one(path: &Path, group: u32, access: Access) -> Result<(), VolumeError> {
    lchown(path, None, Some(group)).map_err(|e| VolumeError::disk("giving away", path, e))?;
    let meta = fs::symlink_metadata(path).map_err(|e| VolumeError::disk("reading", path, e))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let mut mask = match access {
        Access::ReadOnly => 0o440,
        Access::ReadWrite => 0o660,
    };
    if meta.is_dir() {
        mask |= 0o2110;
    }
    let mode = fs::Permissions::from_mode(meta.permissions().mode() | mask);
    fs::set_permissions(path, mode).map_err(|e| VolumeError::disk("setting the mode of", path, e))
}
