//! Volumes that are made of files: the files of a [`FileSource`] are written at once, as upstream does, and
//! again whenever the objects they are made from change.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume};

use super::super::payload::{FileProjection, Payload};
use super::super::sources::{References, Sources};
use super::super::{VolumeError, atomic_writer, directories};
use super::{Plugin, Setup};
use crate::seams::MountedVolume;

/// Upstream's default mode of projected files.
const DEFAULT_MODE: i32 = 0o644;

/// What says which files a volume has. Pure.
pub trait FileSource: Send + Sync {
    /// As [`Plugin::field`].
    fn field(&self) -> &'static str;

    /// The plugin's folder, as upstream names it (`/` written as `~`).
    fn folder(&self) -> &'static str;

    /// Whether the files stand in memory, never on disk.
    fn in_memory(&self) -> bool;

    /// As [`Plugin::takes`].
    fn takes(&self, volume: &Volume) -> bool;

    /// As [`Plugin::references`].
    fn references(&self, _volume: &Volume) -> References {
        References::default()
    }

    /// As [`Plugin::shows_metadata`].
    fn shows_metadata(&self, _volume: &Volume) -> bool {
        false
    }

    /// The files of a volume that the source takes.
    ///
    /// # Errors
    /// When something referred to is missing and not optional.
    fn files(&self, pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Payload, VolumeError>;
}

/// The plugin of a [`FileSource`].
pub struct Files<S: FileSource + 'static>(pub &'static S);

#[async_trait]
impl<S: FileSource + 'static> Plugin for Files<S> {
    fn field(&self) -> &'static str {
        self.0.field()
    }

    fn takes(&self, volume: &Volume) -> bool {
        self.0.takes(volume)
    }

    fn references(&self, volume: &Volume) -> References {
        self.0.references(volume)
    }

    fn shows_metadata(&self, volume: &Volume) -> bool {
        self.0.shows_metadata(volume)
    }

    fn follows_sources(&self) -> bool {
        true
    }

    async fn set_up(&self, setup: Setup) -> Result<MountedVolume, VolumeError> {
        let source = self.0;
        setup
            .blocking(move |setup| {
                let files = source.files(&setup.pod, &setup.volume, &setup.sources)?;
                let path = setup.folder(source.folder());
                if source.in_memory() {
                    directories::make_in_memory(&path, setup.memory_bytes())?;
                } else {
                    directories::make(&path)?;
                }
                directories::open_to_all(&path)?;
                atomic_writer::write(&path, &files, setup.fs_group(), setup.now)?;
                Ok(MountedVolume { host_path: path, read_only: true })
            })
            .await
    }
}

/// Adds the keys of an object: all, or those that `items` names.
///
/// # Errors
/// `missing` when a key named is not there and not optional.
pub(super) fn add_keys(
    out: &mut Payload,
    data: &BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: u32,
    missing: fn(String) -> VolumeError,
) -> Result<(), VolumeError> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        for (key, value) in data {
            insert(out, key, FileProjection { data: value.to_vec(), mode, owner: None })?;
        }
        return Ok(());
    };
    for item in items {
        match data.get(item.key.as_str()) {
            Some(value) => {
                let mode = mode_bits(item.mode, Some(mode));
                insert(out, &item.path, FileProjection { data: value.to_vec(), mode, owner: None })?;
            }
            None if optional => {}
            None => return Err(missing(item.key.clone())),
        }
    }
    Ok(())
}

/// Adds a file.
///
/// # Errors
/// When the path leaves the volume.
pub(super) fn insert(out: &mut Payload, path: &str, file: FileProjection) -> Result<(), VolumeError> {
    let clean = Path::new(path);
    let plain = clean.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(VolumeError::PathInvalid(path.to_owned()));
    }
    let normal: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    out.insert(normal.join("/"), file);
    Ok(())
}

/// `own` where given, else `fallback`, else 0644; only the permission bits.
pub(super) fn mode_bits(own: Option<i32>, fallback: Option<u32>) -> u32 {
    let own = own.and_then(|m| u32::try_from(m).ok());
    own.or(fallback).unwrap_or(DEFAULT_MODE.unsigned_abs()) & 0o777
}

#[cfg(test)]
mod tests;
