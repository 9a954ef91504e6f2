//! `downwardAPI`: what the pod says of itself, as files.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Pod, Volume};

use super::super::VolumeError;
use super::super::payload::{FileProjection, Payload};
use super::super::sources::Sources;
use super::files::{FileSource, insert, mode_bits};
use crate::environment::{fields, resource_fields};

pub struct Source;

impl FileSource for Source {
    fn field(&self) -> &'static str {
        "downwardAPI"
    }

    fn folder(&self) -> &'static str {
        "kubernetes.io~downward-api"
    }

    fn in_memory(&self) -> bool {
        false
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    fn shows_metadata(&self, _volume: &Volume) -> bool {
        true
    }

    fn files(&self, pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Payload, VolumeError> {
        let mut out = Payload::new();
        if let Some(v) = &volume.downward_api {
            let items = v.items.as_deref().unwrap_or_default();
            add(&mut out, pod, sources, items, mode_bits(v.default_mode, None))?;
        }
        Ok(out)
    }
}

/// Adds a file for each item; also for projected volumes.
pub(super) fn add(
    out: &mut Payload,
    pod: &Pod,
    sources: &Sources,
    items: &[DownwardAPIVolumeFile],
    mode: u32,
) -> Result<(), VolumeError> {
    for item in items {
        let value = if let Some(field) = &item.field_ref {
            fields::value(pod, &sources.addresses, &field.field_path)?
        } else if let Some(resource) = &item.resource_field_ref {
            resource_fields::value(pod, None, resource, &sources.allocatable)?
        } else {
            continue;
        };
        let mode = mode_bits(item.mode, Some(mode));
        insert(out, &item.path, FileProjection { data: value.into_bytes(), mode, owner: None })?;
    }
    Ok(())
}
