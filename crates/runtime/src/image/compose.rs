//! Images made on the node: layers written here, put together with a config, and stages that containers run in
//! before they are images.
//!
//! Owns the way of a new layer into content and snapshots. Never decides what is in a layer.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::build_cache::CachedLayer;
use super::error::{ContentError, ImageError};
use super::holds::Item;
use super::manifest::{Descriptor, Manifest};
use super::name::{ImageName, Version};
use super::records::ImageRecord;
use super::store::{ImageStore, Names, StageImage, Work};
use crate::digest::Digest;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// One layer of an image that is being made.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub descriptor: Descriptor,
    pub diff_id: Digest,
    pub chain_id: Digest,
}

/// What a build holds of the store until it is over.
#[derive(Clone)]
pub(crate) struct Composer {
    store: ImageStore,
    work: Arc<Work>,
}

impl ImageStore {
    pub(crate) fn composer(&self) -> Composer {
        Composer { store: self.clone(), work: self.inner.work() }
    }
}

impl Composer {
    /// An image's layers and its config as written.
    pub async fn base(&self, image: &ImageRecord) -> Result<(Vec<Layer>, serde_json::Value), ImageError> {
        let (work, image) = (Arc::clone(&self.work), image.clone());
        self.store
            .blocking(move |inner| {
                image.blobs.iter().for_each(|blob| work.hold(Item::Blob(*blob)));
                image.layers.iter().for_each(|layer| work.hold(Item::Layer(*layer)));
                let (manifest, ..) = inner.choose_manifest(image.manifest)?;
                let config = work.config(&manifest)?;
                let json = serde_json::from_slice(&inner.read_document(&image.id)?);
                let json = json.map_err(|e| ImageError::Archive(e.to_string()))?;
                let parts = manifest.layers.into_iter().zip(config.rootfs.diff_ids).zip(&image.layers);
                let layer = |((descriptor, diff_id), chain_id): ((_, _), &Digest)| Layer {
                    descriptor,
                    diff_id,
                    chain_id: *chain_id,
                };
                Ok((parts.map(layer).collect(), json))
            })
            .await
    }

    /// Makes a layer over `parents` of the archive that `write` writes; nothing where it wrote no entry.
    pub async fn layer(
        &self,
        parents: Vec<Digest>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<u64> + Send + 'static,
    ) -> Result<Option<Layer>, ImageError> {
        let work = Arc::clone(&self.work);
        self.store
            .blocking(move |inner| {
                let root = &inner.options.root;
                let limit_bytes = inner.options.layer_limits.size_bytes;
                let mut ingest = inner.content.begin(limit_bytes).map_err(|e| ImageError::io(root, e))?;
                let mut buffered = io::BufWriter::with_capacity(256 << 10, &mut ingest);
                let entries = write(&mut buffered).and_then(|entries| buffered.flush().map(|()| entries));
                drop(buffered);
                let entries =
                    entries.map_err(|source| ImageError::Io { context: "layer".to_owned(), source })?;
                if entries == 0 {
                    return Ok(None);
                }
                work.hold(Item::Blob(ingest.digest()));
                let (digest, size) = ingest.commit().map_err(|e| ImageError::io(root, e))?;
                let chain_id = work.unpack(&parents, &digest, &digest)?;
                let descriptor = descriptor(LAYER_TYPE, digest, size);
                Ok(Some(Layer { descriptor, diff_id: digest, chain_id }))
            })
            .await
    }

    /// The layer that an earlier build made for `key`; it stays until this build is over.
    pub fn cached(&self, key: &Digest) -> Option<Option<Layer>> {
        let found = self.work.inner().build_cache.get(key)?;
        let Some(layer) = found else { return Some(None) };
        self.work.hold(Item::Blob(layer.blob));
        self.work.hold(Item::Layer(layer.chain_id));
        let inner = self.work.inner();
        let whole = matches!(inner.content.size(&layer.blob), Ok(Some(_)))
            && inner.snapshots.layer(&layer.chain_id).is_some();
        let descriptor = descriptor(LAYER_TYPE, layer.blob, layer.size_bytes);
        whole.then_some(Some(Layer { descriptor, diff_id: layer.blob, chain_id: layer.chain_id }))
    }

    /// Remembers what came of `key`.
    pub async fn remember(&self, key: Digest, layer: Option<Layer>) -> Result<(), ImageError> {
        let layer = layer.map(|layer| CachedLayer {
            blob: layer.descriptor.digest,
            size_bytes: layer.descriptor.size,
            chain_id: layer.chain_id,
        });
        self.store
            .blocking(move |inner| {
                let dropped =
                    inner.build_cache.put(key, layer).map_err(|e| ImageError::io(&inner.options.root, e))?;
                inner.collect(&dropped).map_err(|e| ImageError::io(&inner.options.root, e))
            })
            .await
    }

    /// The directories of layers, topmost first.
    pub fn directories(&self, layers: &[Digest]) -> Result<Vec<PathBuf>, ImageError> {
        Ok(self.work.inner().snapshots.stack(layers).map_err(ContentError::from)?)
    }

    /// The writable layer of a container.
    pub fn written_by(&self, container: &str) -> Result<PathBuf, ImageError> {
        Ok(self.work.inner().snapshots.written_by(container).map_err(ContentError::from)?)
    }

    /// Has containers find `stage` under `reference` until [`Composer::withdraw_all`].
    pub fn offer(&self, reference: &str, stage: StageImage) {
        self.work.inner().stages().insert(reference.to_owned(), stage);
    }

    /// Withdraws all stages of a build.
    pub fn withdraw_all(&self, build: &str) {
        self.work.inner().stages().retain(|reference, _| !reference.starts_with(&stage_reference(build, "")));
    }

    /// Records the image of `layers` and `config` under `tags`; its id.
    pub async fn finish(
        &self,
        layers: Vec<Layer>,
        config: Vec<u8>,
        tags: Vec<String>,
    ) -> Result<Digest, ImageError> {
        let work = Arc::clone(&self.work);
        let names = tags.into_iter().collect();
        self.store
            .blocking(move |_| {
                let id = work.put(&config)?;
                let manifest = Manifest {
                    schema_version: 2,
                    media_type: MANIFEST_TYPE.to_owned(),
                    config: descriptor(CONFIG_TYPE, id, config.len() as u64),
                    layers: layers.into_iter().map(|layer| layer.descriptor).collect(),
                };
                let json = serde_json::to_vec(&manifest).map_err(|e| ImageError::Archive(e.to_string()))?;
                let top = work.put(&json)?;
                let names = Names { tags: names, imported: true, ..Names::default() };
                Ok(work.record(top, names)?.id)
            })
            .await
    }
}

/// The reference of a stage; no image name has two colons.
pub(crate) fn stage_reference(build: &str, stage: &str) -> String {
    format!("build:{build}:{stage}")
}

/// A name that an image made here may get: with a tag, without a digest.
pub fn tag_name(text: &str) -> Result<String, ImageError> {
    let name: ImageName =
        text.parse().map_err(|source| ImageError::Name { text: text.to_owned(), source })?;
    match name.version() {
        Version::Tag(_) => Ok(name.to_string()),
        Version::Digest(_) => Err(ImageError::Archive(format!("{text:?}: a tag is wanted, not a digest"))),
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let annotations = std::collections::BTreeMap::new();
    Descriptor { media_type: media_type.to_owned(), digest, size, platform: None, annotations }
}
