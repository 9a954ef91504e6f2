//! `image`: the files of an OCI image, read-only (KEP-4639). The image is looked for with the containers' own, and the
//! container runtime mounts its files; nothing of it stands in the pod's folder.

use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::super::VolumeError;
use super::{Plugin, Setup};
use crate::seams::MountedVolume;

pub struct Image;

#[async_trait]
impl Plugin for Image {
    fn field(&self) -> &'static str {
        "image"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.image.is_some()
    }

    async fn set_up(&self, _setup: Setup) -> Result<MountedVolume, VolumeError> {
        Ok(MountedVolume { host_path: PathBuf::new(), read_only: true })
    }
}
