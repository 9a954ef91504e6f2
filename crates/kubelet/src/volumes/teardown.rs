//! Taking a pod's folder down: unmount everything, then delete, never through a mount.

use std::fs;
use std::io;
use std::path::Path;

use super::{PodDirs, VolumeError, mount_table};

/// Unmounts and removes everything of the pod. Nothing there is fine.
///
/// # Errors
/// When something stays mounted or the disk refuses; nothing is deleted while a mount is left.
pub fn pod(dirs: &PodDirs, uid: &str) -> Result<(), VolumeError> {
    remove(&dirs.pod(uid))
}

/// Unmounts what pods have mounted under the root folder, deleting nothing; for the end of a cluster.
///
/// # Errors
/// When something stays mounted.
pub fn unmount_all(dirs: &PodDirs) -> Result<(), VolumeError> {
    mount_table::unmount_under(&real(&dirs.pods()))
}

fn remove(folder: &Path) -> Result<(), VolumeError> {
    let folder = real(folder);
    mount_table::unmount_under(&folder)?;
    if let Some(left) = mount_table::under(&folder)?.first() {
        return Err(VolumeError::disk("unmounting", left, io::Error::from(io::ErrorKind::ResourceBusy)));
    }
    match base::remove_tree(&folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(VolumeError::disk("removing", &folder, e)),
        _ => Ok(()),
    }
}

/// The kernel lists mounts by their real path; the root folder may stand behind a link.
pub(super) fn real(path: &Path) -> std::path::PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The uids of pods that have a folder.
pub fn known_pods(dirs: &PodDirs) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dirs.pods()) else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}
