//! `hostPath`: a path of the node, checked against the type the pod expects.

use std::fs;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Volume};

use super::super::VolumeError;
use super::{Plugin, Setup};
use crate::seams::MountedVolume;

pub struct HostPath;

#[async_trait]
impl Plugin for HostPath {
    fn field(&self) -> &'static str {
        "hostPath"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    async fn set_up(&self, setup: Setup) -> Result<MountedVolume, VolumeError> {
        setup
            .blocking(|setup| {
                let mut source = setup.volume.host_path.clone().unwrap_or_default();
                source.path = setup.dirs.on_node(Path::new(&source.path)).to_string_lossy().into_owned();
                check(&source)?;
                Ok(MountedVolume { host_path: PathBuf::from(&source.path), read_only: false })
            })
            .await
    }
}

/// Checks the path and makes it where its type says so.
///
/// # Errors
/// With upstream's text when something else (or nothing) is there.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let wanted = source.type_.as_deref().unwrap_or_default();
    let found = fs::metadata(path).ok().map(|m| m.file_type());
    let refuse = |wanted: &'static str| VolumeError::HostPathType { path: source.path.clone(), wanted };
    let require = |holds: bool, wanted: &'static str| if holds { Ok(()) } else { Err(refuse(wanted)) };
    match wanted {
        "" => Ok(()),
        "DirectoryOrCreate" if found.is_none() => make_directory(path),
        "FileOrCreate" if found.is_none() => make_file(path),
        "Directory" | "DirectoryOrCreate" => require(found.is_some_and(|t| t.is_dir()), "directory"),
        "File" | "FileOrCreate" => require(found.is_some_and(|t| t.is_file()), "file"),
        "Socket" => require(found.is_some_and(|t| t.is_socket()), "socket file"),
        "CharDevice" => require(found.is_some_and(|t| t.is_char_device()), "character device"),
        "BlockDevice" => require(found.is_some_and(|t| t.is_block_device()), "block device"),
        other => Err(VolumeError::HostPathTypeUnknown(other.to_owned())),
    }
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|e| VolumeError::disk("creating", path, e))
}

fn make_file(path: &Path) -> Result<(), VolumeError> {
    let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path);
    made.map(drop).map_err(|e| VolumeError::disk("creating", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &Path, kind: &str) -> Result<(), String> {
        let source =
            HostPathVolumeSource { path: path.to_string_lossy().into_owned(), type_: Some(kind.to_owned()) };
        check(&source).map_err(|e| e.to_string())
    }

    #[test]
    fn types_are_checked_and_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folder, file) = (dir.path().join("x/y"), dir.path().join("f"));
        let text = |what: &str, path: &Path| {
            Err(format!("hostPath type check failed: {} is not a {what}", path.display()))
        };
        assert_eq!(of(&folder, "Directory"), text("directory", &folder));
        assert_eq!(of(&folder, "DirectoryOrCreate"), Ok(()));
        assert_eq!(of(&folder, "Directory"), Ok(()));
        assert_eq!(of(&file, "FileOrCreate"), Ok(()));
        assert_eq!(of(&file, "Socket"), text("socket file", &file));
        assert_eq!(of(&folder, "File"), text("file", &folder));
        assert_eq!(of(Path::new("/dev/null"), "CharDevice"), Ok(()));
        assert_eq!(of(&dir.path().join("none"), ""), Ok(()));
    }
}
