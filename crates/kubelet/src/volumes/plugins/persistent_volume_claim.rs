//! `persistentVolumeClaim` and `ephemeral`: what a claim is bound to, a `local` path or a `hostPath` of the node.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, Pod, Volume};

use super::super::csi::Csi;
use super::super::csi::asked::Asked;
use super::super::csi::expansion::{Growth, Used};
use super::super::error::Step;
use super::super::persistent::Found;
use super::super::{VolumeError, ownership};
use super::{Plugin, Setup, csi, host_path};
use crate::seams::MountedVolume;

/// What a volume's specification says besides where its data are.
const NO_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

pub struct Claimed {
    pub drivers: Option<Arc<Csi>>,
}

#[async_trait]
impl Plugin for Claimed {
    fn field(&self) -> &'static str {
        "persistentVolumeClaim"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
    }

    async fn set_up(&self, setup: Setup) -> Result<MountedVolume, VolumeError> {
        let found = setup.sources.persistent.get(&setup.volume.name);
        if let Some(asked) = found.and_then(|found| Asked::persistent(&found.volume, found.read_only)) {
            let growth = found.and_then(|found| Growth::of(&found.volume, &found.claim));
            let (pod, drivers) = (setup.pod.clone(), self.drivers.as_deref());
            let leaving = setup.leaving.clone();
            let mounted = csi::set_up(drivers, setup, asked.clone()).await?;
            if let (Some(growth), Some(drivers), false) = (growth, drivers, mounted.read_only) {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                let used = Used { uid, asked: &asked, target: &mounted.host_path, leaving };
                let expanded = drivers.expand(used, growth).await;
                expanded.map_err(|why| VolumeError::driver(Step::Expand, &asked.name, why))?;
            }
            return Ok(mounted);
        }
        setup
            .blocking(|setup| {
                let name = &setup.volume.name;
                let found = setup.sources.persistent.get(name);
                let found = found
                    .ok_or_else(|| VolumeError::Unsupported(format!("{name} without a claim").into()))?;
                ready(found, &setup.pod, setup.fs_group())
            })
            .await
    }
}

fn ready(found: &Found, pod: &Pod, group: Option<u32>) -> Result<MountedVolume, VolumeError> {
    let empty = PersistentVolumeSpec::default();
    let spec = found.volume.spec.as_ref().unwrap_or(&empty);
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(VolumeError::Unsupported("persistentVolume with volumeMode Block".into()));
    }
    let read_only = found.read_only;
    if let Some(local) = &spec.local {
        let path = found.directory.clone().unwrap_or_else(|| PathBuf::from(&local.path));
        let Ok(meta) = fs::metadata(&path) else { return Err(VolumeError::LocalPathMissing(path)) };
        if !meta.is_dir() {
            return Err(VolumeError::Unsupported("local of a device without a file system".into()));
        }
        if let Some(group) = group.filter(|group| !read_only && gives_away(pod, &path, *group)) {
            ownership::give_to_group(&path, group, ownership::Access::ReadWrite)?;
        }
        return Ok(MountedVolume { host_path: path, read_only });
    }
    if let Some(source) = &spec.host_path {
        host_path::check(source)?;
        return Ok(MountedVolume { host_path: PathBuf::from(&source.path), read_only });
    }
    Err(VolumeError::Unsupported(source_of(&found.volume)))
}

/// Whether the volume's files are to be given to the pod's group, by `fsGroupChangePolicy`.
fn gives_away(pod: &Pod, path: &Path, group: u32) -> bool {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
    if policy != Some("OnRootMismatch") {
        return true;
    }
    !ownership::is_of_group(path, group)
}

/// The field of the volume's source, as the API writes it.
fn source_of(volume: &PersistentVolume) -> Cow<'static, str> {
    let fields = serde_json::to_value(&volume.spec).ok();
    let fields = fields.as_ref().and_then(|value| value.as_object()).into_iter().flatten();
    let mut sources = fields.map(|(field, _)| field).filter(|field| !NO_SOURCE.contains(&field.as_str()));
    let field = sources.next().map_or("unknown", String::as_str);
    format!("persistentVolume of {field}").into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use serde_json::{Value, json};

    use super::*;

    fn set_up(spec: &Value, read_only: bool) -> Result<MountedVolume, String> {
        let volume = json!({"metadata": {"name": "v"}, "spec": spec});
        let volume = Arc::new(serde_json::from_value(volume).expect("a volume"));
        let found = Found { volume, claim: Arc::default(), read_only, directory: None };
        ready(&found, &Pod::default(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn local_paths_and_host_paths_are_had_and_others_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().to_str().expect("plain");
        let had = set_up(&json!({"local": {"path": path}}), true).expect("a volume");
        assert_eq!((had.host_path.as_path(), had.read_only), (dir.path(), true));
        assert!(set_up(&json!({"hostPath": {"path": path, "type": "Directory"}}), false).is_ok());
        let missing = set_up(&json!({"local": {"path": "/no/such"}}), false);
        assert_eq!(missing.map(drop), Err("path \"/no/such\" does not exist".to_owned()));
        let nfs =
            set_up(&json!({"nfs": {"server": "s", "path": "/"}, "accessModes": ["ReadWriteMany"]}), false);
        let text = "volume type \"persistentVolume of nfs\" is not implemented on this node";
        assert_eq!(nfs.map(drop), Err(text.to_owned()));
        let raw = set_up(&json!({"local": {"path": path}, "volumeMode": "Block"}), false);
        assert!(raw.map(drop).is_err_and(|text| text.contains("volumeMode Block")));
    }

    #[test]
    fn a_groups_files_are_given_away_once_where_the_pod_says_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let gid = fs::metadata(dir.path()).expect("there").gid();
        let pod = |policy: &str| -> Pod {
            let context = json!({"fsGroup": 1, "fsGroupChangePolicy": policy});
            serde_json::from_value(json!({"spec": {"containers": [], "securityContext": context}}))
                .expect("a pod")
        };
        assert!(gives_away(&pod("Always"), dir.path(), gid));
        assert!(gives_away(&pod("OnRootMismatch"), dir.path(), gid), "its mode is another");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2777)).expect("set");
        assert!(!gives_away(&pod("OnRootMismatch"), dir.path(), gid));
        assert!(gives_away(&pod("OnRootMismatch"), dir.path(), gid + 1));
    }
}
