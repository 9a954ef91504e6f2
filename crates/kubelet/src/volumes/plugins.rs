//! The list of volume plugins, one for each kind of source. A new kind of volume is a file here and a line in
//! [`Plugins::default`].

mod config_map;
mod csi;
mod downward_api;
mod empty_dir;
pub mod files;
pub mod host_path;
mod image;
pub mod persistent_volume_claim;
mod projected;
mod secret;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use tokio::sync::watch;

use super::csi::Csi;
use super::sources::{References, Sources};
use super::{PodDirs, VolumeError};
use crate::resources;
use crate::seams::MountedVolume;
use files::Files;

/// Makes volumes of one kind of source.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// The field of a volume that holds the source, such as `configMap`.
    fn field(&self) -> &'static str;

    /// Whether the volume's source is of this kind.
    fn takes(&self, volume: &Volume) -> bool;

    /// What has to be fetched before [`Plugin::set_up`].
    fn references(&self, _volume: &Volume) -> References {
        References::default()
    }

    /// Whether the volume shows the pod's own labels and annotations.
    fn shows_metadata(&self, _volume: &Volume) -> bool {
        false
    }

    /// Whether [`Plugin::set_up`] is to be called again when what the volume is made from changes.
    fn follows_sources(&self) -> bool {
        false
    }

    /// How much the volume may take on disk, where the node has to watch over that itself.
    fn size_limit(&self, _volume: &Volume) -> Option<SizeLimit> {
        None
    }

    /// Makes the volume ready. Idempotent: also called for volumes that are ready, and after a restart. Volumes of
    /// a pod are set up beside each other. Whatever is mounted stands under the pod's folder, so that the
    /// folder's teardown finds it.
    ///
    /// # Errors
    /// Why the volume cannot be had; it is tried again.
    async fn set_up(&self, setup: Setup) -> Result<MountedVolume, VolumeError>;
}

/// A limit of a volume on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeLimit {
    pub bytes: u64,
    /// As the pod has it (`1Gi`), for messages.
    pub text: String,
}

/// One volume of a pod to be made ready.
#[derive(Clone)]
pub struct Setup {
    pub dirs: PodDirs,
    pub pod: Arc<Pod>,
    pub volume: Volume,
    pub sources: Arc<Sources>,
    pub now: Timestamp,
    /// The memory that all pods of the node may use together, in bytes.
    pub node_memory_bytes: u64,
    /// Becomes true when the pod leaves: nobody waits for its volumes any more.
    pub leaving: watch::Receiver<bool>,
}

impl Setup {
    /// The most that a volume in memory may take, in bytes: what the node has for pods, and no more than the pod may
    /// use where every container of it has a limit (upstream `calculateEmptyDirMemorySize`). `None` where the node does
    /// not tell.
    pub fn memory_bytes(&self) -> Option<u64> {
        let known = |bytes: &u64| *bytes > 0;
        let of_pod = u64::try_from(resources::of_pod(&self.pod).memory_bytes).ok().filter(known);
        [Some(self.node_memory_bytes).filter(known), of_pod].into_iter().flatten().min()
    }

    /// Where the volume of a plugin with this folder stands.
    pub fn folder(&self, plugin: &str) -> PathBuf {
        self.dirs.volume(self.pod.metadata.uid.as_deref().unwrap_or_default(), plugin, &self.volume.name)
    }

    /// The group that owns the pod's volumes.
    pub fn fs_group(&self) -> Option<u32> {
        fs_group(&self.pod)
    }

    /// Does work of the disk on a thread that may block.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn blocking(
        self,
        work: impl FnOnce(&Self) -> Result<MountedVolume, VolumeError> + Send + 'static,
    ) -> Result<MountedVolume, VolumeError> {
        let done = tokio::task::spawn_blocking(move || work(&self)).await;
        done.unwrap_or_else(|error| Err(VolumeError::TaskLost(error.to_string())))
    }
}

/// The group that owns the pod's volumes.
fn fs_group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// The plugins of this node.
pub struct Plugins(Vec<Box<dyn Plugin>>);

impl Default for Plugins {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Plugins {
    /// All of them; volumes of drivers are those of `drivers`.
    pub fn new(drivers: Option<Arc<Csi>>) -> Self {
        Self(vec![
            Box::new(Files(&config_map::Source)),
            Box::new(Files(&secret::Source)),
            Box::new(Files(&downward_api::Source)),
            Box::new(Files(&projected::Source)),
            Box::new(empty_dir::EmptyDir),
            Box::new(host_path::HostPath),
            Box::new(image::Image),
            Box::new(persistent_volume_claim::Claimed { drivers: drivers.clone() }),
            Box::new(csi::Inline { drivers }),
        ])
    }

    /// Whose volume this is.
    ///
    /// # Errors
    /// When no plugin takes it, with the field of its source.
    pub fn of(&self, volume: &Volume) -> Result<&dyn Plugin, VolumeError> {
        let found = self.0.iter().find(|plugin| plugin.takes(volume));
        found.map(|plugin| &**plugin).ok_or_else(|| VolumeError::Unsupported(source_field(volume).into()))
    }

    /// What a volume refers to; nothing for one that no plugin takes.
    pub fn references(&self, volume: &Volume) -> References {
        self.of(volume).map(|plugin| plugin.references(volume)).unwrap_or_default()
    }
}

/// The field of the volume's source, as the API writes it.
fn source_field(volume: &Volume) -> String {
    let fields = serde_json::to_value(volume).ok();
    let fields = fields.as_ref().and_then(|value| value.as_object()).into_iter().flatten();
    let mut sources = fields.map(|(field, _)| field).filter(|field| *field != "name");
    sources.next().cloned().unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_names_its_plugin_and_an_unknown_one_itself() {
        let plugins = Plugins::default();
        let field = |source: &str| {
            let volume = serde_json::from_value(json!({"name": "v", source: {}})).expect("a volume");
            plugins.of(&volume).map(Plugin::field).map_err(|error| error.to_string())
        };
        for known in
            ["configMap", "secret", "downwardAPI", "projected", "emptyDir", "hostPath", "image", "csi"]
        {
            assert_eq!(field(known), Ok(known));
        }
        for unknown in ["nfs", "scaleIO", "awsElasticBlockStore"] {
            let text = format!("volume type {unknown:?} is not implemented on this node");
            assert_eq!(field(unknown), Err(text));
        }
        let text = "volume type \"unknown\" is not implemented on this node".to_owned();
        assert_eq!(field("ofTheFuture"), Err(text));
    }
}
