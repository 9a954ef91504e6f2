//! Root file systems for containers: the image side of [`crate::rootfs::Rootfs`].
//!
//! Owns the translation between the two vocabularies. Never mounts.

use async_trait::async_trait;

use super::error::{ContentError, ImageError};
use super::holds::Item;
use super::store::ImageStore;
use crate::digest::Digest;
use crate::rootfs::{Image, Overlay, Rootfs, RootfsError, Usage};

#[async_trait]
impl Rootfs for ImageStore {
    async fn image(&self, reference: &str) -> Result<Image, RootfsError> {
        let not_found = || RootfsError::ImageNotFound(reference.to_owned());
        if let Some(stage) = self.inner.stages().get(reference) {
            return Ok(stage.image.clone());
        }
        let record = self.status(reference).ok_or_else(not_found)?;
        let config = self.config(record.id).await.map_err(|e| damaged(record.id, &e))?.config;
        Ok(Image {
            id: record.id.to_string(),
            digest_reference: record.digests.first().cloned().unwrap_or_default(),
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            user: config.user,
            working_dir: config.working_dir,
            stop_signal: config.stop_signal,
            volumes: config.volumes.into_keys().collect(),
        })
    }

    async fn prepare(&self, image_id: &str, container_id: &str) -> Result<Overlay, RootfsError> {
        let (image_id, container_id) = (image_id.to_owned(), container_id.to_owned());
        let prepared = self.blocking(move |inner| {
            let work = inner.work();
            let stage = inner.stages().get(&image_id).map(|stage| stage.layers.clone());
            let images = inner.records.current();
            let found = || super::records::find(&images, &image_id).map(|image| image.layers.clone());
            let layers = stage.or_else(found).ok_or_else(|| ImageError::NotFound(image_id.clone()))?;
            layers.iter().for_each(|layer| work.hold(Item::Layer(*layer)));
            Ok(inner.snapshots.prepare(&container_id, &layers).map_err(ContentError::from)?)
        });
        prepared.await.map_err(|error| match error {
            ImageError::NotFound(reference) => RootfsError::ImageNotFound(reference),
            other => failed("prepare the root file system", other),
        })
    }

    async fn remove(&self, container_id: &str) -> Result<(), RootfsError> {
        let id = container_id.to_owned();
        let removed = self.blocking(move |inner| Ok(inner.release_container(&id)?)).await;
        removed.map_err(|e| failed("remove the root file system", e))
    }

    async fn usage(&self, container_id: &str) -> Result<Usage, RootfsError> {
        let id = container_id.to_owned();
        let usage = self
            .blocking(move |inner| Ok(inner.snapshots.container_usage(&id).map_err(ContentError::from)?))
            .await;
        usage.map_err(|e| failed("measure the root file system", e))
    }

    async fn containers(&self) -> Result<Vec<String>, RootfsError> {
        Ok(self.inner.snapshots.containers())
    }
}

fn damaged(image: Digest, error: &ImageError) -> RootfsError {
    RootfsError::Damaged { image: image.to_string(), reason: error.to_string() }
}

fn failed(context: &str, error: ImageError) -> RootfsError {
    RootfsError::Io { context: context.to_owned(), source: std::io::Error::other(error) }
}
