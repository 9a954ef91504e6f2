//! Which images the node has: one JSON file, replaced atomically at each change.
//!
//! Owns the records and their rules (a tag names one image at a time). Readers never wait for the
//! disk. Never touches blobs or layers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::name::{ImageName, Version};
use crate::digest::Digest;
use crate::snapshot::durable;

/// One image on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest of the config: the image's identity.
    pub id: Digest,
    pub manifest: Digest,
    /// Everything stored for it: indexes, manifest, config, layer archives.
    pub blobs: BTreeSet<Digest>,
    /// Chain ids of the unpacked layers, bottom first.
    pub layers: Vec<Digest>,
    /// Sum of manifest, config and layer archives.
    pub size_bytes: u64,
    /// The user the config names; may be empty.
    pub user: String,
    /// Names with a tag.
    pub tags: BTreeSet<String>,
    /// Names with a digest.
    pub digests: BTreeSet<String>,
    /// Those of the tags that an administrator gave it by importing an archive: see [`imported`].
    #[serde(default)]
    pub imported: BTreeSet<String>,
}

/// All images by id.
pub type Images = BTreeMap<Digest, ImageRecord>;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    images: Vec<ImageRecord>,
}

const VERSION: u32 = 1;

/// The records, in memory and on disk.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    current: Mutex<Arc<Images>>,
    /// Held while the file is replaced: one writer at a time.
    writing: Mutex<()>,
}

impl Records {
    /// Reads the records at `path`; a missing file means no images.
    ///
    /// Errors: `InvalidData` where the file is damaged or of a newer version.
    pub fn open(path: &Path) -> io::Result<Self> {
        let images = match std::fs::read(path) {
            Ok(bytes) => {
                let saved: Saved = serde_json::from_slice(&bytes)?;
                if saved.version != VERSION {
                    let text = format!("{}: unknown version {}", path.display(), saved.version);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                saved.images.into_iter().map(|image| (image.id, image)).collect()
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Images::new(),
            Err(e) => return Err(e),
        };
        Ok(Self { path: path.to_owned(), current: Mutex::new(Arc::new(images)), writing: Mutex::default() })
    }

    /// The records as they are now.
    pub fn current(&self) -> Arc<Images> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the records: first on disk, then for readers.
    pub fn update<T>(&self, change: impl FnOnce(&mut Images) -> T) -> io::Result<T> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut images = Images::clone(&self.current());
        let answer = change(&mut images);
        let saved = Saved { version: VERSION, images: images.into_values().collect() };
        durable::replace(&self.path, &serde_json::to_vec(&saved)?)?;
        let images = saved.images.into_iter().map(|image| (image.id, image)).collect();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(images);
        Ok(answer)
    }
}

/// Adds an image, or the new names of a known one; a tag moves here from where it was.
pub fn add(images: &mut Images, image: ImageRecord) {
    for other in images.values_mut() {
        other.tags.retain(|tag| !image.tags.contains(tag));
        other.imported.retain(|tag| !image.tags.contains(tag));
    }
    match images.get_mut(&image.id) {
        Some(known) => {
            known.tags.extend(image.tags);
            known.imported.extend(image.imported);
            known.digests.extend(image.digests);
            known.blobs.extend(image.blobs);
        }
        None => drop(images.insert(image.id, image)),
    }
}

/// The image an administrator imported as `tag`. Pulls of the name return this image: importing an image
/// defines the name on this node, and machines without a registry run `:latest` too.
pub fn imported<'a>(images: &'a Images, tag: &str) -> Option<&'a ImageRecord> {
    images.values().find(|image| image.imported.contains(tag))
}

/// The image of a reference: an id, a prefix of an id's digits, or a name.
pub fn find<'a>(images: &'a Images, reference: &str) -> Option<&'a ImageRecord> {
    if let Ok(id) = reference.parse::<Digest>() {
        return images.get(&id);
    }
    if let Ok(name) = reference.parse::<ImageName>() {
        let text = name.to_string();
        let named = images.values().find(|image| match name.version() {
            Version::Tag(_) => image.tags.contains(&text),
            Version::Digest(_) => image.digests.contains(&text),
        });
        if named.is_some() {
            return named;
        }
    }
    let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
    if hex.is_empty() || hex.len() > 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut matching = images.values().filter(|image| image.id.hex().starts_with(hex));
    matching.next().filter(|_| matching.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &str, tags: &[&str]) -> ImageRecord {
        let id = Digest::of(content.as_bytes());
        ImageRecord {
            id,
            manifest: id,
            blobs: BTreeSet::from([id]),
            layers: vec![],
            size_bytes: 1,
            user: String::new(),
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            digests: BTreeSet::from([format!("docker.io/library/busybox@{id}")]),
            imported: BTreeSet::new(),
        }
    }

    #[test]
    fn a_tag_moves_and_all_forms_of_reference_find_the_image() {
        let mut images = Images::new();
        let (old, new) = (image("old", &["docker.io/library/busybox:latest"]), image("new", &[]));
        add(&mut images, old.clone());
        add(&mut images, new.clone());
        add(&mut images, ImageRecord { tags: old.tags.clone(), ..new.clone() });
        assert!(images[&old.id].tags.is_empty());
        let found = |reference: &str| find(&images, reference).map(|i| i.id);
        assert_eq!(found("busybox"), Some(new.id));
        assert_eq!(found(&format!("busybox:x@{}", old.id)), Some(old.id));
        assert_eq!(found(&old.id.to_string()), Some(old.id));
        assert_eq!(found(&old.id.hex()), Some(old.id));
        assert_eq!(found(&old.id.hex()[..12]), Some(old.id));
        assert_eq!(found(""), None);
        assert_eq!(found("busybox:other"), None);
    }

    #[test]
    fn a_pulled_image_takes_the_name_from_an_imported_one() {
        let tag = "docker.io/library/busybox:latest";
        let mut images = Images::new();
        let by_hand = ImageRecord { imported: BTreeSet::from([tag.to_owned()]), ..image("a", &[tag]) };
        add(&mut images, by_hand.clone());
        assert_eq!(imported(&images, tag), Some(&by_hand));
        add(&mut images, image("a", &[tag]));
        assert_eq!(imported(&images, tag), None);
    }

    #[test]
    fn records_survive_and_damage_is_told() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("images.json");
        Records::open(&path)?.update(|images| add(images, image("a", &["x/y:1"])))?;
        assert_eq!(Records::open(&path)?.current().len(), 1);
        std::fs::write(&path, b"{\"version\":1,\"ima")?;
        assert!(Records::open(&path).is_err());
        Ok(())
    }
}
