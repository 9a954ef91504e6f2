//! `secret`: the keys of a Secret as files in memory.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume};

use super::super::VolumeError;
use super::super::payload::Payload;
use super::super::sources::{References, Sources};
use super::files::{FileSource, add_keys, mode_bits};

pub struct Source;

impl FileSource for Source {
    fn field(&self) -> &'static str {
        "secret"
    }

    fn folder(&self) -> &'static str {
        "kubernetes.io~secret"
    }

    fn in_memory(&self) -> bool {
        true
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    fn references(&self, volume: &Volume) -> References {
        let names = volume.secret.iter().filter_map(|v| v.secret_name.clone());
        References { secrets: names.collect::<BTreeSet<_>>(), ..References::default() }
    }

    fn files(&self, _pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Payload, VolumeError> {
        let mut out = Payload::new();
        if let Some(v) = &volume.secret {
            let name = v.secret_name.as_deref().unwrap_or_default();
            add(&mut out, sources, name, v.items.as_deref(), v.optional, mode_bits(v.default_mode, None))?;
        }
        Ok(out)
    }
}

/// Adds the Secret's keys; also for projected volumes.
pub(super) fn add(
    out: &mut Payload,
    sources: &Sources,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<(), VolumeError> {
    let optional = optional == Some(true);
    let Some(secret) = sources.secrets.get(name) else {
        return if optional { Ok(()) } else { Err(VolumeError::SecretMissing(name.to_owned())) };
    };
    let data = secret.data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice())).collect();
    add_keys(out, &data, items, optional, mode, VolumeError::SecretKeyMissing)
}
