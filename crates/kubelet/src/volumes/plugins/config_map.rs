//! `configMap`: the keys of a ConfigMap as files.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume};

use super::super::VolumeError;
use super::super::payload::Payload;
use super::super::sources::{References, Sources};
use super::files::{FileSource, add_keys, mode_bits};

pub struct Source;

impl FileSource for Source {
    fn field(&self) -> &'static str {
        "configMap"
    }

    fn folder(&self) -> &'static str {
        "kubernetes.io~configmap"
    }

    fn in_memory(&self) -> bool {
        false
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    fn references(&self, volume: &Volume) -> References {
        let config_maps: BTreeSet<String> = volume.config_map.iter().map(|v| v.name.clone()).collect();
        References { config_maps, ..References::default() }
    }

    fn files(&self, _pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Payload, VolumeError> {
        let mut out = Payload::new();
        if let Some(v) = &volume.config_map {
            add(&mut out, sources, &v.name, v.items.as_deref(), v.optional, mode_bits(v.default_mode, None))?;
        }
        Ok(out)
    }
}

/// Adds the ConfigMap's keys; also for projected volumes.
pub(super) fn add(
    out: &mut Payload,
    sources: &Sources,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<(), VolumeError> {
    let optional = optional == Some(true);
    let Some(map) = sources.config_maps.get(name) else {
        return if optional { Ok(()) } else { Err(VolumeError::ConfigMapMissing(name.to_owned())) };
    };
    let texts = map.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_bytes()));
    let bytes = map.binary_data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice()));
    let data: BTreeMap<&str, &[u8]> = texts.chain(bytes).collect();
    add_keys(out, &data, items, optional, mode, VolumeError::ConfigMapKeyMissing)
}
