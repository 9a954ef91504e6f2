//! `projected`: ConfigMaps, Secrets, the pod's own fields and service account tokens in one folder, in memory.

use k8s_openapi::api::core::v1::{Pod, Volume, VolumeProjection};

use super::super::VolumeError;
use super::super::payload::{FileProjection, Payload};
use super::super::sources::{References, Sources, TokenKey};
use super::files::{FileSource, insert, mode_bits};
use super::{config_map, downward_api, fs_group, secret};

/// Of a token file when the pod runs as a certain user or group.
const PRIVATE_MODE: u32 = 0o600;

pub struct Source;

impl FileSource for Source {
    fn field(&self) -> &'static str {
        "projected"
    }

    fn folder(&self) -> &'static str {
        "kubernetes.io~projected"
    }

    fn in_memory(&self) -> bool {
        true
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    fn references(&self, volume: &Volume) -> References {
        let mut found = References::default();
        for source in projections(volume) {
            found.config_maps.extend(source.config_map.iter().map(|s| s.name.clone()));
            found.secrets.extend(source.secret.iter().map(|s| s.name.clone()));
            let tokens = source.service_account_token.iter();
            found.tokens.extend(tokens.map(|s| TokenKey::new(s.audience.as_deref(), s.expiration_seconds)));
        }
        found
    }

    fn shows_metadata(&self, volume: &Volume) -> bool {
        projections(volume).any(|source| source.downward_api.is_some())
    }

    fn files(&self, pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Payload, VolumeError> {
        let mut out = Payload::new();
        let mode = mode_bits(volume.projected.as_ref().and_then(|v| v.default_mode), None);
        for source in projections(volume) {
            add(&mut out, pod, sources, source, mode)?;
        }
        Ok(out)
    }
}

fn projections(volume: &Volume) -> impl Iterator<Item = &VolumeProjection> {
    volume.projected.iter().flat_map(|v| v.sources.iter().flatten())
}

fn add(
    out: &mut Payload,
    pod: &Pod,
    sources: &Sources,
    source: &VolumeProjection,
    mode: u32,
) -> Result<(), VolumeError> {
    if let Some(s) = &source.config_map {
        config_map::add(out, sources, &s.name, s.items.as_deref(), s.optional, mode)?;
    }
    if let Some(s) = &source.secret {
        secret::add(out, sources, &s.name, s.items.as_deref(), s.optional, mode)?;
    }
    if let Some(s) = &source.downward_api {
        downward_api::add(out, pod, sources, s.items.as_deref().unwrap_or_default(), mode)?;
    }
    if let Some(s) = &source.service_account_token {
        let key = TokenKey::new(s.audience.as_deref(), s.expiration_seconds);
        let token =
            sources.tokens.get(&key).ok_or_else(|| VolumeError::Token("no token was issued".into()))?;
        let owner = file_owner(pod);
        let private = owner.is_some() || fs_group(pod).is_some();
        let mode = if private { PRIVATE_MODE } else { mode };
        insert(out, &s.path, FileProjection { data: token.clone().into_bytes(), mode, owner })?;
    }
    if source.cluster_trust_bundle.is_some() {
        return Err(VolumeError::Unsupported("clusterTrustBundle".into()));
    }
    if source.pod_certificate.is_some() {
        return Err(VolumeError::Unsupported("podCertificate".into()));
    }
    Ok(())
}

/// The one user all containers run as, if there is one: it owns the pod's tokens.
fn file_owner(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|c| c.run_as_user);
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = all.map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(of_pod));
    let first = users.next()??;
    users.all(|u| u == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}
