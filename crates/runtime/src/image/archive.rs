//! Importing image archives: OCI layouts and what `docker save` writes, in one pass from a stream.
//!
//! Every file of the archive goes into the content store under its digest; only then its documents
//! are read and what belongs to no image goes again. Never seeks and never trusts a digest the
//! archive claims.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ContentError, ImageError};
use super::holds::Item;
use super::manifest::{Descriptor, DockerArchiveImage, Index, Manifest};
use super::name::{ImageName, Version};
use super::records::ImageRecord;
use super::store::{ImageStore, Names, Work};
use crate::digest::Digest;
use crate::snapshot::decompress;
use crate::snapshot::tar_stream::{Entry, Kind, TarStream};

const ENTRY_LIMIT: usize = 100_000;
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_REF_NAME: &str = "org.opencontainers.image.ref.name";

impl ImageStore {
    /// Imports every image of an archive, plain or compressed with gzip or zstd, that runs on this
    /// machine. Nothing is imported where one of them is damaged; what was complete before stays.
    pub async fn import(&self, archive: impl Read + Send + 'static) -> Result<Vec<ImageRecord>, ImageError> {
        self.blocking(move |inner| import(&inner.work(), archive)).await
    }
}

fn import(work: &Arc<Work>, archive: impl Read + Send) -> Result<Vec<ImageRecord>, ImageError> {
    let limit_bytes = work.inner().options.archive_limit_bytes;
    let archive = decompress(archive).map_err(ImageError::ArchiveRead)?.take(limit_bytes);
    let files = Files::read(work, archive)?;
    let docker =
        files.document("manifest.json").map(|file| docker_images(work, &files, &file)).transpose()?;
    let images = match (files.document("index.json"), docker) {
        (Some(file), docker) => oci_images(work, &file, docker.unwrap_or_default())?,
        (None, Some(docker)) => docker,
        (None, None) => {
            return Err(ImageError::Archive("it has neither index.json nor manifest.json".to_owned()));
        }
    };
    if images.is_empty() {
        return Err(ImageError::Archive("it holds no images".to_owned()));
    }
    let names = |names| Names { imported: true, ..names };
    images.into_iter().map(|image| work.record(image.top, names(image.names))).collect()
}

/// An image found in an archive: where its documents begin and what it is called.
struct Found {
    top: Digest,
    config: Option<Digest>,
    names: Names,
}

/// The archive's files in the content store.
struct Files {
    stored: BTreeMap<PathBuf, (Digest, u64)>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Files {
    fn read(work: &Work, archive: impl Read) -> Result<Self, ImageError> {
        let mut files = Self { stored: BTreeMap::new(), links: BTreeMap::new() };
        let mut stream = TarStream::new(archive);
        while let Some(entry) = stream.next_entry().map_err(ImageError::ArchiveRead)? {
            if files.stored.len() + files.links.len() >= ENTRY_LIMIT {
                return Err(ImageError::Archive(format!("it has more than {ENTRY_LIMIT} entries")));
            }
            files.add(work, &entry, &mut stream)?;
        }
        Ok(files)
    }

    fn add(&mut self, work: &Work, entry: &Entry, content: &mut impl Read) -> Result<(), ImageError> {
        let outside = || ImageError::Archive(format!("entry {:?} lies outside the archive", entry.path));
        let path = crate::snapshot::clean(&entry.path).ok_or_else(outside)?;
        match entry.kind {
            Kind::File => {
                let stored = self.store(work, &path, entry, content)?;
                self.stored.insert(path, stored);
            }
            // Older versions of docker save link layers that several images share.
            Kind::Symlink => {
                let target = path.parent().unwrap_or(Path::new("")).join(&entry.link);
                self.links.insert(path, crate::snapshot::clean(&target).ok_or_else(outside)?);
            }
            Kind::HardLink => {
                let target = crate::snapshot::clean(&entry.link).ok_or_else(outside)?;
                self.links.insert(path, target);
            }
            Kind::Directory => {}
            Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
                return Err(ImageError::Archive(format!("entry {:?} is a device", entry.path)));
            }
        }
        Ok(())
    }

    fn store(
        &self,
        work: &Work,
        path: &Path,
        entry: &Entry,
        content: &mut impl Read,
    ) -> Result<(Digest, u64), ImageError> {
        let claimed =
            path.strip_prefix("blobs/sha256").ok().and_then(|name| Digest::from_hex(name.to_str()?).ok());
        if let Some(digest) = claimed {
            work.hold(Item::Blob(digest));
        }
        let store = &work.inner().content;
        let mut ingest = store.begin(entry.size_bytes).map_err(|e| ImageError::io(path, e))?;
        // Only the disk's failures carry the system's code; all others are about the archive.
        io::copy(content, &mut ingest).map_err(|e| match e.raw_os_error() {
            Some(_) => ImageError::io(&work.inner().options.root, e),
            None => ImageError::ArchiveRead(e),
        })?;
        let (digest, size_bytes) = match claimed {
            Some(digest) => {
                let committed = ingest.commit_as(&digest, entry.size_bytes);
                committed.map_err(|e| ImageError::Archive(format!("{}: {e}", path.display())))?;
                (digest, entry.size_bytes)
            }
            None => {
                work.hold(Item::Blob(ingest.digest()));
                ingest.commit().map_err(|e| ImageError::io(path, e))?
            }
        };
        Ok((digest, size_bytes))
    }

    /// A file by its path, through at most a few links.
    fn document(&self, path: &str) -> Option<(Digest, u64)> {
        let mut path = crate::snapshot::clean(Path::new(path))?;
        for _ in 0..8 {
            match self.stored.get(&path) {
                Some(file) => return Some(*file),
                None => path = self.links.get(&path)?.clone(),
            }
        }
        None
    }
}

fn docker_images(work: &Work, files: &Files, manifest: &(Digest, u64)) -> Result<Vec<Found>, ImageError> {
    let bytes = work.inner().read_document(&manifest.0)?;
    let images: Vec<DockerArchiveImage> =
        serde_json::from_slice(&bytes).map_err(|e| ImageError::Archive(format!("manifest.json: {e}")))?;
    images.into_iter().map(|image| docker_image(work, files, image)).collect()
}

fn docker_image(work: &Work, files: &Files, image: DockerArchiveImage) -> Result<Found, ImageError> {
    let descriptor = |path: &String, media_type: &str| {
        let missing = || ImageError::Archive(format!("manifest.json names {path:?}, which is missing"));
        let (digest, size) = files.document(path).ok_or_else(missing)?;
        let media_type = media_type.to_owned();
        Ok::<_, ImageError>(Descriptor {
            media_type,
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        })
    };
    let layers = image.layers.iter().map(|l| descriptor(l, "application/vnd.oci.image.layer.v1.tar"));
    let manifest = Manifest {
        schema_version: 2,
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        config: descriptor(&image.config, "application/vnd.oci.image.config.v1+json")?,
        layers: layers.collect::<Result<_, _>>()?,
    };
    let json = serde_json::to_vec(&manifest).map_err(|e| ImageError::Archive(e.to_string()))?;
    let tags = image.repo_tags.iter().map(|tag| Ok(parse_name(tag)?.to_string()));
    // This manifest was made here: no registry knows its digest, so it gives no name.
    let names = Names { tags: tags.collect::<Result<_, ImageError>>()?, ..Names::default() };
    Ok(Found { top: work.put(&json)?, config: Some(manifest.config.digest), names })
}

/// Images of an OCI layout; newer versions of docker save write both forms, then `docker` adds names.
fn oci_images(work: &Work, index: &(Digest, u64), docker: Vec<Found>) -> Result<Vec<Found>, ImageError> {
    let bytes = work.inner().read_document(&index.0)?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|e| ImageError::Archive(format!("index.json: {e}")))?;
    let mut found = Vec::new();
    for descriptor in &index.manifests {
        let config = match work.inner().choose_manifest(descriptor.digest) {
            Ok((manifest, ..)) => manifest.config.digest,
            // An archive for several machines: what is not for this one is left out.
            Err(ContentError::NoPlatform) => continue,
            Err(e) => return Err(e.into()),
        };
        let mut names = Names::default();
        if let Some(name) = oci_name(descriptor)? {
            names.digests.insert(name.at_digest(descriptor.digest).to_string());
            if let Version::Tag(_) = name.version() {
                names.tags.insert(name.to_string());
            }
        }
        for image in docker.iter().filter(|image| image.config == Some(config)) {
            names.tags.extend(image.names.tags.iter().cloned());
        }
        found.push(Found { top: descriptor.digest, config: Some(config), names });
    }
    if found.is_empty() && !index.manifests.is_empty() {
        return Err(ContentError::NoPlatform.into());
    }
    Ok(found)
}

fn oci_name(descriptor: &Descriptor) -> Result<Option<ImageName>, ImageError> {
    if let Some(name) = descriptor.annotations.get(CONTAINERD_NAME) {
        return parse_name(name).map(Some);
    }
    match descriptor.annotations.get(OCI_REF_NAME) {
        // The specification means a tag here, but tools write names; a bare word like a version is a tag.
        Some(name) if !name.contains(['/', ':']) && looks_like_version(name) => Ok(None),
        Some(name) => parse_name(name).map(Some),
        None => Ok(None),
    }
}

fn looks_like_version(word: &str) -> bool {
    word == "latest" || word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit())
}

fn parse_name(text: &str) -> Result<ImageName, ImageError> {
    text.parse().map_err(|source| ImageError::Name { text: text.to_owned(), source })
}
