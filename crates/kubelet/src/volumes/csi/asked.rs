//! What a pod's volume asks of its driver. Pure.

use std::collections::BTreeMap;

use csi::v1::VolumeCapability;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use k8s_openapi::api::core::v1::{PersistentVolume, Pod, SecretReference, Volume};
use pods::volumes::attachment::{self, hash};

/// How long a volume lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    Persistent,
    /// As long as its pod, which names the driver itself.
    Ephemeral,
}

impl Lifecycle {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Persistent => "Persistent",
            Self::Ephemeral => "Ephemeral",
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub driver: String,
    pub handle: String,
    /// The persistent volume's name, or the pod's for a volume of its own.
    pub name: String,
    pub lifecycle: Lifecycle,
    pub fs_type: String,
    pub attributes: BTreeMap<String, String>,
    pub mount_options: Vec<String>,
    pub access_modes: Vec<String>,
    pub read_only: bool,
    pub is_block: bool,
    pub stage_secret: Option<SecretReference>,
    pub publish_secret: Option<SecretReference>,
    pub expand_secret: Option<SecretReference>,
}

/// What a driver makes of access modes and groups.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dialect {
    pub knows_single_writers: bool,
    /// The group of the files, for drivers that give them away themselves.
    pub group: Option<u32>,
}

impl Asked {
    /// Of a volume that names its driver itself.
    pub fn inline(pod: &Pod, volume: &Volume) -> Option<Self> {
        let source = volume.csi.as_ref()?;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let secret = source.node_publish_secret_ref.as_ref().map(|local| SecretReference {
            name: Some(local.name.clone()),
            namespace: pod.metadata.namespace.clone(),
        });
        Some(Self {
            driver: source.driver.clone(),
            handle: format!("csi-{}", hash(&format!("{uid}{}", volume.name))),
            name: volume.name.clone(),
            lifecycle: Lifecycle::Ephemeral,
            fs_type: source.fs_type.clone().unwrap_or_default(),
            attributes: source.volume_attributes.clone().unwrap_or_default(),
            mount_options: Vec::new(),
            access_modes: vec!["ReadWriteOnce".to_owned()],
            read_only: source.read_only == Some(true),
            is_block: false,
            stage_secret: None,
            publish_secret: secret,
            expand_secret: None,
        })
    }

    /// Of a persistent volume; `None` for one of another kind.
    pub fn persistent(volume: &PersistentVolume, read_only: bool) -> Option<Self> {
        let spec = volume.spec.as_ref()?;
        let source = spec.csi.as_ref()?;
        Some(Self {
            driver: source.driver.clone(),
            handle: source.volume_handle.clone(),
            name: volume.metadata.name.clone().unwrap_or_default(),
            lifecycle: Lifecycle::Persistent,
            fs_type: source.fs_type.clone().unwrap_or_default(),
            attributes: source.volume_attributes.clone().unwrap_or_default(),
            mount_options: spec.mount_options.clone().unwrap_or_default(),
            access_modes: spec.access_modes.clone().unwrap_or_default(),
            read_only,
            is_block: spec.volume_mode.as_deref() == Some("Block"),
            stage_secret: source.node_stage_secret_ref.clone(),
            publish_secret: source.node_publish_secret_ref.clone(),
            expand_secret: source.node_expand_secret_ref.clone(),
        })
    }

    /// How the volume is used, as the driver is told.
    pub fn capability(&self, dialect: Dialect) -> VolumeCapability {
        let access = match self.is_block {
            true => AccessType::Block(BlockVolume {}),
            false => AccessType::Mount(MountVolume {
                fs_type: self.fs_type.clone(),
                mount_flags: self.mount_options.clone(),
                volume_mount_group: dialect.group.map(|group| group.to_string()).unwrap_or_default(),
            }),
        };
        let mode = mode(self.access_modes.first().map(String::as_str), dialect.knows_single_writers);
        VolumeCapability { access_type: Some(access), access_mode: Some(AccessMode { mode: mode.into() }) }
    }

    /// The volume's name in a node's lists of volumes in use and attached.
    pub fn unique_name(&self) -> String {
        attachment::unique_name(&self.driver, &self.handle)
    }

    /// The name of the object by which the volume is attached to a node.
    pub fn attachment(&self, node: &str) -> String {
        attachment::object_name(&self.driver, &self.handle, node)
    }
}

/// The first access mode counts, as upstream.
fn mode(first: Option<&str>, knows_single_writers: bool) -> Mode {
    match (first, knows_single_writers) {
        (Some("ReadOnlyMany"), _) => Mode::MultiNodeReaderOnly,
        (Some("ReadWriteMany"), _) => Mode::MultiNodeMultiWriter,
        (Some("ReadWriteOncePod"), true) => Mode::SingleNodeSingleWriter,
        (Some("ReadWriteOnce") | None, true) => Mode::SingleNodeMultiWriter,
        (Some("ReadWriteOnce" | "ReadWriteOncePod") | None, false) => Mode::SingleNodeWriter,
        (Some(_), _) => Mode::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_upstreams() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"uid": "u", "namespace": "n"}})).expect("a pod");
        let volume = json!({"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}});
        let asked =
            Asked::inline(&pod, &serde_json::from_value(volume).expect("a volume")).expect("a driver's");
        assert_eq!(asked.handle, "csi-e6184ce10e266134fdcfa401e8f1a95005bcd4f18d16b62b757323e2833fe9a9");
        assert_eq!(asked.publish_secret.and_then(|secret| secret.namespace).as_deref(), Some("n"));
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "driver", "volumeHandle": "handle"}}});
        let volume = serde_json::from_value(volume).expect("a volume");
        let asked = Asked::persistent(&volume, false).expect("a driver's");
        let attachment = "csi-fdef298eb16db6fa42906ef1ff09a93a7f3028f8290cc9d71628ff91c237bfa7";
        assert_eq!(asked.attachment("node"), attachment);
        assert_eq!(asked.unique_name(), "kubernetes.io/csi/driver^handle");
    }

    #[test]
    fn the_first_access_mode_counts() {
        assert_eq!(mode(Some("ReadWriteOnce"), false), Mode::SingleNodeWriter);
        assert_eq!(mode(Some("ReadWriteOncePod"), false), Mode::SingleNodeWriter);
        assert_eq!(mode(Some("ReadWriteOnce"), true), Mode::SingleNodeMultiWriter);
        assert_eq!(mode(Some("ReadWriteOncePod"), true), Mode::SingleNodeSingleWriter);
        assert_eq!(mode(Some("ReadOnlyMany"), true), Mode::MultiNodeReaderOnly);
        assert_eq!(mode(Some("ReadWriteMany"), false), Mode::MultiNodeMultiWriter);
        assert_eq!(mode(None, false), Mode::SingleNodeWriter);
    }
}
