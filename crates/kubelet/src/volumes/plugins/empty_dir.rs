//! `emptyDir`: a folder of the pod's own, on disk or in memory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use api::quantity::Quantity;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};

use super::super::{VolumeError, directories, ownership};
use super::{Plugin, Setup, SizeLimit};
use crate::seams::MountedVolume;

const FOLDER: &str = "kubernetes.io~empty-dir";

pub struct EmptyDir;

#[async_trait]
impl Plugin for EmptyDir {
    fn field(&self) -> &'static str {
        "emptyDir"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    /// The kernel itself limits those in memory.
    fn size_limit(&self, volume: &Volume) -> Option<SizeLimit> {
        let source = volume.empty_dir.as_ref().filter(|source| medium(source).is_empty())?;
        let text = source.size_limit.as_ref()?.0.clone();
        Some(SizeLimit { bytes: size_limit_bytes(source)?, text })
    }

    async fn set_up(&self, setup: Setup) -> Result<MountedVolume, VolumeError> {
        setup
            .blocking(|setup| {
                let path = setup.folder(FOLDER);
                let source = setup.volume.empty_dir.clone().unwrap_or_default();
                make(&path, &source, setup.memory_bytes(), setup.fs_group())?;
                Ok(MountedVolume { host_path: path, read_only: false })
            })
            .await
    }
}

fn medium(source: &EmptyDirVolumeSource) -> &str {
    source.medium.as_deref().unwrap_or_default()
}

/// Makes an `emptyDir`. What is in it already (after a restart of the node agent) stays. One in memory takes at most
/// `memory_bytes`, or its own limit where that is smaller.
///
/// # Errors
/// When the disk or the kernel refuses, or the medium is not known here.
fn make(
    path: &Path,
    source: &EmptyDirVolumeSource,
    memory_bytes: Option<u64>,
    group: Option<u32>,
) -> Result<(), VolumeError> {
    match medium(source) {
        "" => directories::make(path)?,
        "Memory" => {
            let size_bytes = [memory_bytes, size_limit_bytes(source)].into_iter().flatten().min();
            directories::make_in_memory(path, size_bytes)?;
        }
        _ => return Err(VolumeError::Unsupported("emptyDir with huge pages".into())),
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
fn size_limit_bytes(source: &EmptyDirVolumeSource) -> Option<u64> {
    let limit = source.size_limit.as_ref()?.0.parse::<Quantity>().ok()?;
    u64::try_from(limit.value()).ok().filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod privileged {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::super::PodDirs;
    use super::*;

    /// The size of the tmpfs of a pod with these containers' limits and this `sizeLimit`, on a node of 1 GiB.
    fn size_bytes(limits: &[Option<&str>], size_limit: Option<&str>) -> u64 {
        let dir = tempfile::tempdir().expect("a folder");
        let container = |limit: &Option<&str>| {
            let limits = limit.map_or(json!({}), |limit| json!({"memory": limit}));
            json!({"name": "c", "resources": {"limits": limits}})
        };
        let containers: Vec<_> = limits.iter().map(container).collect();
        let mut volume = json!({"name": "v", "emptyDir": {"medium": "Memory"}});
        if let Some(limit) = size_limit {
            volume["emptyDir"]["sizeLimit"] = limit.into();
        }
        let pod = json!({"metadata": {"uid": "u"}, "spec": {"containers": containers, "volumes": [volume]}});
        let setup = Setup {
            leaving: tokio::sync::watch::channel(false).1,
            dirs: PodDirs::new(dir.path()),
            pod: Arc::new(serde_json::from_value(pod).expect("a pod")),
            volume: serde_json::from_value(volume).expect("a volume"),
            sources: Arc::default(),
            now: jiff::Timestamp::UNIX_EPOCH,
            node_memory_bytes: 1 << 30,
        };
        let path = dir.path().join("v");
        let source = setup.volume.empty_dir.clone().expect("a source");
        make(&path, &source, setup.memory_bytes(), None).expect("made");
        let size = rustix::fs::statvfs(&path).expect("a file system");
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
        size.f_blocks * size.f_frsize
    }

    #[test]
    fn one_in_memory_is_no_larger_than_node_pod_and_volume_allow() {
        assert_eq!(size_bytes(&[Some("64Mi")], None), 64 << 20);
        assert_eq!(size_bytes(&[Some("64Mi"), Some("32Mi")], None), 96 << 20);
        assert_eq!(size_bytes(&[Some("64Mi"), None], None), 1 << 30, "the pod as a whole has no limit");
        assert_eq!(size_bytes(&[None], Some("16Mi")), 16 << 20);
        assert_eq!(size_bytes(&[Some("64Mi")], Some("16Mi")), 16 << 20);
        assert_eq!(size_bytes(&[Some("64Mi")], Some("128Mi")), 64 << 20);
        assert_eq!(size_bytes(&[Some("4Gi")], Some("8Gi")), 1 << 30);
    }

    #[test]
    fn an_empty_dir_belongs_to_the_group_of_the_pod_on_disk_and_in_memory() {
        let dir = tempfile::tempdir().expect("a folder");
        for medium in [None, Some("Memory".to_owned())] {
            let path = dir.path().join(medium.as_deref().unwrap_or("disk"));
            let source = EmptyDirVolumeSource { medium: medium.clone(), ..EmptyDirVolumeSource::default() };
            make(&path, &source, None, Some(2000)).expect("made");
            let meta = fs::symlink_metadata(&path).expect("there");
            assert_eq!((meta.gid(), meta.permissions().mode() & 0o2777), (2000, 0o2777), "{medium:?}");
            if medium.is_some() {
                rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
            }
        }
    }
}
