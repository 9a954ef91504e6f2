//! Folders of volumes: plain ones and those in memory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

use super::{VolumeError, mount_table, ownership};

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

/// Makes an `emptyDir`. What is in it already (after a restart of the node agent) stays.
///
/// # Errors
/// When the disk or the kernel refuses, or the medium is not known here.
pub fn make_empty_dir(
    path: &Path,
    source: &EmptyDirVolumeSource,
    group: Option<u32>,
) -> Result<(), VolumeError> {
    match source.medium.as_deref().unwrap_or_default() {
        "" => make(path)?,
        "Memory" => make_in_memory(path, size_limit_bytes(source))?,
        _ => return Err(VolumeError::Unsupported("emptyDir with huge pages")),
    }
    // Anyone in the pod may write there; set apart from the creation, which the umask would narrow.
    let meta = fs::symlink_metadata(path).map_err(|e| VolumeError::disk("reading", path, e))?;
    if meta.permissions().mode() & 0o777 != 0o777 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))
            .map_err(|e| VolumeError::disk("setting the mode of", path, e))?;
    }
    match group {
        Some(group) if meta.gid() != group => {
            ownership::give_to_group(path, group, ownership::Access::ReadWrite)
        }
        _ => Ok(()),
    }
}

/// The limit, in bytes, when there is one.
pub fn size_limit_bytes(source: &EmptyDirVolumeSource) -> Option<u64> {
    let limit = source.size_limit.as_ref()?.0.parse::<Quantity>().ok()?;
    u64::try_from(limit.value()).ok().filter(|bytes| *bytes > 0)
}

/// Lets everybody look into `path`, whatever the umask was when it was made.
///
/// # Errors
/// When the disk refuses.
pub fn open_to_all(path: &Path) -> Result<(), VolumeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
        .map_err(|e| VolumeError::disk("setting the mode of", path, e))
}

#[cfg(test)]
mod privileged {
    use super::*;

    #[test]
    fn an_empty_dir_belongs_to_the_group_of_the_pod_on_disk_and_in_memory() {
        let dir = tempfile::tempdir().expect("a folder");
        for medium in [None, Some("Memory".to_owned())] {
            let path = dir.path().join(medium.as_deref().unwrap_or("disk"));
            let source = EmptyDirVolumeSource { medium: medium.clone(), ..EmptyDirVolumeSource::default() };
            make_empty_dir(&path, &source, Some(2000)).expect("made");
            let meta = fs::symlink_metadata(&path).expect("there");
            assert_eq!((meta.gid(), meta.permissions().mode() & 0o2777), (2000, 0o2777), "{medium:?}");
            if medium.is_some() {
                rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
            }
        }
    }
}
