//! What a pod's volumes are filled from. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::payload::{TokenKey, token_key};

/// Objects of the pod's namespace and tokens of its service account.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct References {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub tokens: BTreeSet<TokenKey>,
}

/// Of all the pod's volumes.
pub fn of_pod(pod: &Pod) -> References {
    let mut found = References::default();
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        add(&mut found, volume);
    }
    found
}

/// Of one volume.
pub fn of_volume(volume: &Volume) -> References {
    let mut found = References::default();
    add(&mut found, volume);
    found
}

fn add(found: &mut References, volume: &Volume) {
    if let Some(v) = &volume.config_map {
        found.config_maps.insert(v.name.clone());
    }
    if let Some(name) = volume.secret.as_ref().and_then(|v| v.secret_name.clone()) {
        found.secrets.insert(name);
    }
    for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        if let Some(s) = &source.config_map {
            found.config_maps.insert(s.name.clone());
        }
        if let Some(s) = &source.secret {
            found.secrets.insert(s.name.clone());
        }
        if let Some(s) = &source.service_account_token {
            found.tokens.insert(token_key(s.audience.as_deref(), s.expiration_seconds));
        }
    }
}
