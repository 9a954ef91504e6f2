//! The image store: content, unpacked layers and records kept in step.
//!
//! An image is recorded only after all its blobs and layers are durable; what a crash leaves
//! unrecorded is removed by the next [`ImageStore::open`]. `import` and `pull` bring images in through
//! [`Work`]. Never talks to a registry itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::build_cache::BuildCache;
use super::caches::Caches;
use super::content::ContentStore;
use super::error::{ContentError, ImageError};
use super::holds::{Holds, Item};
use super::in_flight::InFlight;
use super::manifest::{DOCUMENT_LIMIT_BYTES, Document, DocumentError, ImageConfig, Manifest, Platform};
use super::name::ImageName;
use super::records::{self, ImageRecord, Images, Records};
use super::registry::RegistryOptions;
use crate::digest::Digest;
use crate::rootfs::{Image, Usage};
use crate::snapshot::{Discarded, LayerLimits, SnapshotStore, chain_id};

/// Where the store is and what it takes.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of the store's own.
    pub root: PathBuf,
    pub layer_limits: LayerLimits,
    /// The largest archive `import` reads, decompressed, in bytes.
    pub archive_limit_bytes: u64,
    pub registries: RegistryOptions,
}

impl Options {
    /// The defaults for a store under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            layer_limits: LayerLimits::default(),
            archive_limit_bytes: 128 << 30,
            registries: RegistryOptions::default(),
        }
    }
}

/// The node's images. Clones share one store; methods that touch the disk or network are async.
#[derive(Clone)]
pub struct ImageStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub options: Options,
    pub content: ContentStore,
    pub snapshots: SnapshotStore,
    pub records: Records,
    pub downloads: InFlight,
    pub build_cache: BuildCache,
    pub caches: Arc<Caches>,
    stages: Mutex<HashMap<String, StageImage>>,
    holds: Holds,
    /// Kept open: its lock keeps other processes out.
    _lock: File,
}

impl ImageStore {
    /// Opens the store, creating it where it is missing, and removes what no image needs.
    ///
    /// Blocks on the disk. Errors: [`ImageError::Locked`] while another process has it open.
    pub fn open(options: Options) -> Result<Self, ImageError> {
        let root = options.root.clone();
        let io_error = |source| ImageError::io(&root, source);
        fs::create_dir_all(&root).map_err(io_error)?;
        let lock = lock(&root)?;
        // What builds that were cut off left.
        match base::remove_tree(&root.join("builds")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(e)),
            _ => {}
        }
        let content = ContentStore::open(&root.join("content")).map_err(io_error)?;
        let snapshots =
            SnapshotStore::open(&root.join("snapshots"), options.layer_limits).map_err(ContentError::from)?;
        let records = Records::open(&root.join("images.json")).map_err(io_error)?;
        let caches = Arc::new(Caches::new(root.join("cache-mounts")));
        let inner = Inner {
            options,
            content,
            snapshots,
            records,
            downloads: InFlight::default(),
            build_cache: BuildCache::open(&root.join("build-cache.json")),
            caches,
            stages: Mutex::default(),
            holds: Holds::default(),
            _lock: lock,
        };
        inner.forget_damaged().map_err(io_error)?;
        let all = inner.all_items().map_err(io_error)?;
        inner.collect(&all).map_err(io_error)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// All images, by id.
    pub fn list(&self) -> Arc<Images> {
        self.inner.records.current()
    }

    /// The image of `reference` (a name, an id or a prefix of an id).
    pub fn status(&self, reference: &str) -> Option<ImageRecord> {
        records::find(&self.list(), reference).cloned()
    }

    /// The image an administrator imported under the tag that `reference` names.
    pub fn imported(&self, reference: &str) -> Option<ImageRecord> {
        let name: ImageName = reference.parse().ok()?;
        records::imported(&self.list(), &name.to_string()).cloned()
    }

    /// Removes an image with all its names; one that is not there is no error. Containers keep
    /// running: the layers that they use are removed with the last of them.
    pub async fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let reference = reference.to_owned();
        self.blocking(move |inner| inner.remove(&reference)).await
    }

    /// The config of the image with this id.
    pub async fn config(&self, id: Digest) -> Result<ImageConfig, ImageError> {
        self.blocking(move |inner| {
            Ok(ImageConfig::parse(&inner.read_document(&id)?).map_err(ContentError::from)?)
        })
        .await
    }

    /// The config of the image with this id, as it was written.
    pub async fn config_json(&self, id: Digest) -> Result<serde_json::Value, ImageError> {
        self.blocking(move |inner| {
            let json = serde_json::from_slice(&inner.read_document(&id)?);
            Ok(json
                .map_err(|source| DocumentError::Json { what: "image config", source })
                .map_err(ContentError::from)?)
        })
        .await
    }

    /// What images take on disk: archives and unpacked layers.
    pub async fn usage(&self) -> Result<Usage, ImageError> {
        self.blocking(|inner| inner.usage().map_err(|e| ImageError::io(&inner.options.root, e))).await
    }

    /// The folders of builds' cache mounts.
    pub(crate) fn caches(&self) -> Arc<Caches> {
        Arc::clone(&self.inner.caches)
    }

    /// The directory the store lives in.
    pub fn root(&self) -> &Path {
        &self.inner.options.root
    }

    /// Runs disk work off the async threads.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ImageError::Cancelled),
        }
    }
}

impl Inner {
    /// Begins work that adds to the store.
    pub fn work(self: &Arc<Self>) -> Arc<Work> {
        Arc::new(Work { inner: Arc::clone(self), items: Mutex::default() })
    }

    /// Stages of builds in progress, by the references under which containers find them.
    pub fn stages(&self) -> MutexGuard<'_, HashMap<String, StageImage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a manifest, index or config.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>, ContentError> {
        let read = self.content.read(digest, DOCUMENT_LIMIT_BYTES);
        read.map_err(|source| ContentError::Blob { digest: *digest, source })
    }

    /// Follows indexes from `digest` to this machine's manifest; returns the manifest, its digest and the indexes.
    pub fn choose_manifest(&self, digest: Digest) -> Result<(Manifest, Digest, Vec<Digest>), ContentError> {
        let mut way = vec![digest];
        loop {
            let last = way[way.len() - 1];
            match Document::parse(&self.read_document(&last)?)? {
                Document::Manifest(manifest) => return Ok((manifest, last, way)),
                // Docker nests an image's index in the archive's; more is a loop or a joke.
                Document::Index(_) if way.len() > 4 => return Err(ContentError::NoPlatform),
                Document::Index(index) => {
                    way.push(index.choose(&Platform::host()).ok_or(ContentError::NoPlatform)?.digest);
                }
            }
        }
    }

    /// Gives a container's layers back.
    pub fn release_container(&self, container: &str) -> Result<(), ContentError> {
        let layers = self.snapshots.remove_container(container)?;
        let items: Vec<Item> = layers.into_iter().map(Item::Layer).collect();
        self.collect(&items).map_err(|source| {
            crate::snapshot::SnapshotError::Io { context: "remove unused layers".to_owned(), source }.into()
        })
    }

    fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let io_error = |source| ImageError::io(&self.options.root, source);
        let removed = self
            .records
            .update(|images| {
                let id = records::find(images, reference)?.id;
                images.remove(&id)
            })
            .map_err(io_error)?;
        match removed {
            Some(image) => self.collect(&items_of(&image)).map_err(io_error),
            None => Ok(()),
        }
    }

    /// Deletes those of `items` that no image, container or work in progress needs.
    pub fn collect(&self, items: &[Item]) -> io::Result<()> {
        let images = self.records.current();
        let mut needed: HashSet<Item> = images.values().flat_map(items_of).collect();
        needed.extend(self.build_cache.needed());
        needed.extend(self.snapshots.layers_in_use().into_iter().map(Item::Layer));
        let unneeded: Vec<Item> = items.iter().filter(|item| !needed.contains(item)).copied().collect();
        let mut discarded = Vec::new();
        self.holds.delete_unheld(&unneeded, |item| match item {
            Item::Blob(digest) => self.content.remove(&digest),
            Item::Layer(chain_id) => {
                discarded.extend(self.snapshots.remove_layer(&chain_id)?);
                Ok(())
            }
        })?;
        // Not under the lock of the holds: this takes time.
        discarded.into_iter().try_for_each(Discarded::delete)
    }

    fn all_items(&self) -> io::Result<Vec<Item>> {
        let blobs = self.content.list()?.into_iter().map(Item::Blob);
        Ok(blobs.chain(self.snapshots.layers().into_iter().map(|l| Item::Layer(l.chain_id))).collect())
    }

    /// Drops records whose manifest, config or layers are gone, so that such images are pulled again.
    fn forget_damaged(&self) -> io::Result<()> {
        let whole = |image: &ImageRecord| {
            image.layers.iter().all(|layer| self.snapshots.layer(layer).is_some())
                && [image.id, image.manifest].iter().all(|d| matches!(self.content.size(d), Ok(Some(_))))
        };
        let images = self.records.current();
        let damaged: Vec<Digest> =
            images.values().filter(|image| !whole(image)).map(|image| image.id).collect();
        if damaged.is_empty() {
            return Ok(());
        }
        tracing::warn!(images = ?damaged, "images with missing content are forgotten");
        self.records.update(|images| damaged.iter().for_each(|id| drop(images.remove(id))))
    }

    fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for digest in self.content.list()? {
            usage.used_bytes += self.content.size(&digest)?.unwrap_or(0);
            usage.inodes += 1;
        }
        for layer in self.snapshots.layers() {
            usage.used_bytes += layer.size_bytes;
            usage.inodes += layer.inodes;
        }
        Ok(usage)
    }
}

pub(super) fn items_of(image: &ImageRecord) -> Vec<Item> {
    let blobs = image.blobs.iter().map(|d| Item::Blob(*d));
    blobs.chain(image.layers.iter().map(|d| Item::Layer(*d))).collect()
}

fn lock(root: &Path) -> Result<File, ImageError> {
    let path = root.join("lock");
    let file = File::create(&path).map_err(|e| ImageError::io(&path, e))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ImageError::Locked(root.display().to_string())),
        Err(e) => Err(ImageError::io(&path, e.into())),
    }
}

/// An import or a pull in progress: what it holds stays until it is recorded or given up.
pub(super) struct Work {
    inner: Arc<Inner>,
    items: Mutex<Vec<Item>>,
}

/// A stage of a build as containers see it; its reference is no image name.
#[derive(Debug, Clone)]
pub(crate) struct StageImage {
    pub image: Image,
    pub layers: Vec<Digest>,
}

/// What an image will be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub tags: BTreeSet<String>,
    pub digests: BTreeSet<String>,
    /// Whether an administrator imports the image, so that pulls of its tags return it.
    pub imported: bool,
}

impl Work {
    pub fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Keeps a blob or layer from being removed; to be called before looking whether it is there.
    pub fn hold(&self, item: Item) {
        self.inner.holds.add(item);
        self.items.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }

    /// Stores a small blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ContentError> {
        let digest = Digest::of(bytes);
        self.hold(Item::Blob(digest));
        self.inner.content.put(bytes).map_err(|source| ContentError::Blob { digest, source })
    }

    /// Unpacks the stored archive `blob` over `parents` (chain ids, bottom first); returns its chain id.
    pub fn unpack(
        &self,
        parents: &[Digest],
        diff_id: &Digest,
        blob: &Digest,
    ) -> Result<Digest, ContentError> {
        let chain_id = chain_id(parents.last(), diff_id);
        self.hold(Item::Layer(chain_id));
        if self.inner.snapshots.layer(&chain_id).is_none() {
            let file = self.inner.content.open_blob(blob);
            let file = file.map_err(|source| ContentError::Blob { digest: *blob, source })?;
            self.inner.snapshots.unpack(parents, diff_id, file)?;
        }
        Ok(chain_id)
    }

    /// Reads the config of `manifest`, checked against its layers.
    pub fn config(&self, manifest: &Manifest) -> Result<ImageConfig, ContentError> {
        let config = ImageConfig::parse(&self.inner.read_document(&manifest.config.digest)?)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(ContentError::LayerCount { layers, diff_ids });
        }
        Ok(config)
    }

    /// Unpacks what is not unpacked yet and records the image found at `top` (an index or manifest)
    /// under `names`. All its blobs must be stored and held.
    pub fn record(&self, top: Digest, names: Names) -> Result<ImageRecord, ImageError> {
        let (manifest, digest, way) = self.inner.choose_manifest(top)?;
        let config = self.config(&manifest)?;
        let mut chain = Vec::with_capacity(manifest.layers.len());
        let mut blobs: BTreeSet<Digest> = way.into_iter().collect();
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            chain.push(self.unpack(&chain, diff_id, &layer.digest)?);
            blobs.insert(layer.digest);
        }
        blobs.insert(manifest.config.digest);
        let size = |digest: &Digest| {
            let size = self
                .inner
                .content
                .size(digest)
                .map_err(|source| ContentError::Blob { digest: *digest, source });
            size.map(|s| s.unwrap_or(0))
        };
        let mut size_bytes = size(&digest)? + size(&manifest.config.digest)?;
        for layer in &manifest.layers {
            size_bytes += size(&layer.digest)?;
        }
        let image = ImageRecord {
            id: manifest.config.digest,
            manifest: digest,
            blobs,
            layers: chain,
            size_bytes,
            user: config.config.user,
            imported: if names.imported { names.tags.clone() } else { BTreeSet::new() },
            tags: names.tags,
            digests: names.digests,
        };
        let recorded = self.inner.records.update(|images| records::add(images, image.clone()));
        recorded.map_err(|e| ImageError::io(&self.inner.options.root, e))?;
        Ok(image)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let items = std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.holds.release(&items);
        if let Err(error) = self.inner.collect(&items) {
            tracing::warn!(%error, "content of an unfinished image stays until the next start");
        }
    }
}

#[cfg(test)]
#[path = "store/privileged.rs"]
mod privileged;
