//! Names given and taken by hand, and images written as archives that any tool reads.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use serde_json::json;

use super::compose::tag_name;
use super::error::{ContentError, ImageError};
use super::holds::Item;
use super::manifest::Manifest;
use super::records::{self, ImageRecord};
use super::store::{ImageStore, items_of};
use crate::digest::Digest;

/// What is known of an image.
pub struct Details {
    pub record: ImageRecord,
    pub manifest: Manifest,
    pub config: serde_json::Value,
}

/// What removing a reference did.
#[derive(Debug, Default)]
pub struct Dropped {
    pub untagged: Vec<String>,
    pub deleted: Option<Digest>,
}

impl ImageStore {
    /// Gives the image of `source` the name `target` besides those it has.
    pub async fn tag(&self, source: &str, target: &str) -> Result<String, ImageError> {
        let (source, tag) = (source.to_owned(), tag_name(target)?);
        self.blocking(move |inner| {
            let tagged = inner.records.update(|images| {
                let image = records::find(images, &source)?.clone();
                let names = BTreeSet::from([tag.clone()]);
                records::add(images, ImageRecord { tags: names.clone(), imported: names, ..image });
                Some(tag)
            });
            let tagged = tagged.map_err(|e| ImageError::io(&inner.options.root, e))?;
            tagged.ok_or(ImageError::NotFound(source))
        })
        .await
    }

    /// Takes a name away; the image goes with its last name, or at once where `reference` is its id.
    pub async fn drop_reference(&self, reference: &str) -> Result<Dropped, ImageError> {
        let tag = tag_name(reference).ok();
        let text = reference.to_owned();
        self.blocking(move |inner| {
            let changed = inner.records.update(|images| {
                let id = records::find(images, &text)?.id;
                let image = images.get_mut(&id)?;
                let by_name = tag.filter(|tag| image.tags.contains(tag));
                let mut dropped = Dropped::default();
                if let Some(tag) = by_name.filter(|_| image.tags.len() > 1) {
                    image.tags.remove(&tag);
                    image.imported.remove(&tag);
                    dropped.untagged.push(tag);
                    return Some((dropped, None));
                }
                dropped.untagged = image.tags.iter().chain(&image.digests).cloned().collect();
                dropped.deleted = Some(id);
                // At once: a name that the image gets meanwhile would go with it.
                Some((dropped, images.remove(&id)))
            });
            let io_error = |e| ImageError::io(&inner.options.root, e);
            let (dropped, gone) = changed.map_err(io_error)?.ok_or(ImageError::NotFound(text))?;
            if let Some(image) = gone {
                inner.collect(&items_of(&image)).map_err(io_error)?;
            }
            Ok(dropped)
        })
        .await
    }

    /// Forgets the build cache with the cache mounts that no build uses, and removes images without a name, or `all` that no container uses.
    pub async fn prune(&self, all: bool) -> Result<(Vec<Dropped>, u64), ImageError> {
        let before = self.usage().await?.used_bytes;
        let used = self.inner.snapshots.layers_in_use();
        let mut dropped = Vec::new();
        for image in self.list().values() {
            let in_use = image.layers.last().is_some_and(|layer| used.contains(layer));
            if !in_use && (all || image.tags.is_empty()) {
                dropped.push(self.drop_reference(&image.id.to_string()).await?);
            }
        }
        self.blocking(|inner| {
            let io_error = |e| ImageError::io(&inner.options.root, e);
            let (_, items) = inner.build_cache.clear().map_err(io_error)?;
            inner.caches.prune().map_err(io_error)?;
            inner.collect(&items).map_err(io_error)
        })
        .await?;
        Ok((dropped, before.saturating_sub(self.usage().await?.used_bytes)))
    }

    /// An image's documents.
    pub async fn details(&self, reference: &str) -> Result<Details, ImageError> {
        let record = self.status(reference).ok_or_else(|| ImageError::NotFound(reference.to_owned()))?;
        let config = self.config_json(record.id).await?;
        self.blocking(move |inner| {
            let (manifest, ..) = inner.choose_manifest(record.manifest)?;
            Ok(Details { record, manifest, config })
        })
        .await
    }

    /// Writes images as an OCI layout that `docker load` reads, too. Blocks.
    pub fn save(&self, references: &[String], out: impl Write) -> Result<(), ImageError> {
        let work = self.inner.work();
        let mut tar = tar::Builder::new(out);
        let (mut index, mut docker, mut written) = (Vec::new(), Vec::new(), BTreeSet::new());
        let failed = |source| ImageError::Io { context: "save".to_owned(), source };
        for reference in references {
            let image = self.status(reference).ok_or_else(|| ImageError::NotFound(reference.clone()))?;
            image.blobs.iter().for_each(|blob| work.hold(Item::Blob(*blob)));
            let (manifest, ..) = self.inner.choose_manifest(image.manifest)?;
            let blobs = manifest.layers.iter().map(|layer| layer.digest).chain([image.id, image.manifest]);
            for digest in blobs.filter(|digest| written.insert(*digest)) {
                let blob = |source| ImageError::from(ContentError::Blob { digest, source });
                let file = self.inner.content.open_blob(&digest).map_err(blob)?;
                let size = file.metadata().map_err(failed)?.len();
                append(&mut tar, &format!("blobs/sha256/{}", digest.hex()), size, file).map_err(failed)?;
            }
            let tag = tag_name(reference).ok().filter(|tag| image.tags.contains(tag));
            let size = self.inner.content.size(&image.manifest).map_err(failed)?.unwrap_or(0);
            let mut entry = json!({"mediaType": manifest.media_type, "digest": image.manifest, "size": size});
            if let Some(tag) = &tag {
                entry["annotations"] = json!({"io.containerd.image.name": tag,
                    "org.opencontainers.image.ref.name": tag.rsplit(':').next()});
            }
            index.push(entry);
            let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
            let layers: Vec<String> = manifest.layers.iter().map(|layer| path(&layer.digest)).collect();
            let tags: Vec<_> = tag.into_iter().collect();
            docker.push(json!({"Config": path(&image.id), "RepoTags": tags, "Layers": layers}));
        }
        for (name, document) in [
            ("index.json", json!({"schemaVersion": 2, "manifests": index})),
            ("manifest.json", json!(docker)),
            ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
        ] {
            let text = document.to_string();
            append(&mut tar, name, text.len() as u64, text.as_bytes()).map_err(failed)?;
        }
        tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(size);
    tar.append_data(&mut header, path, content)
}
