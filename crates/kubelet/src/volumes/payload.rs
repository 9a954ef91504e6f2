//! What the files of a configMap, secret, downwardAPI or projected volume are. Pure.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Secret, Volume, VolumeProjection,
};

use super::VolumeError;
use crate::environment::fields::{self, PodAddresses};
use crate::environment::resource_fields::{self, Allocatable};

/// Upstream's default mode of projected files.
const DEFAULT_MODE: i32 = 0o644;
/// Of a token file when the pod runs as a certain user or group.
const PRIVATE_MODE: u32 = 0o600;

/// One file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProjection {
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Who owns the file; root when `None`.
    pub owner: Option<u32>,
}

/// Files by their path inside the volume.
pub type Payload = BTreeMap<String, FileProjection>;

/// What identifies a service account token within a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKey {
    /// Empty for the API server's own.
    pub audience: String,
    pub expiration_s: i64,
}

/// What volumes are filled from. An absent entry means that the object does not exist.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    pub config_maps: HashMap<String, Arc<ConfigMap>>,
    pub secrets: HashMap<String, Arc<Secret>>,
    pub tokens: HashMap<TokenKey, String>,
    pub addresses: PodAddresses,
    pub allocatable: Allocatable,
}

/// The files of `volume`; `None` when it is of a kind that is not made of files.
///
/// # Errors
/// When something referred to is missing and not optional.
pub fn of_volume(pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Option<Payload>, VolumeError> {
    let mut out = Payload::new();
    if let Some(v) = &volume.config_map {
        let mode = mode_bits(v.default_mode, None);
        add_config_map(&mut out, sources, &v.name, v.items.as_deref(), v.optional, mode)?;
    } else if let Some(v) = &volume.secret {
        let name = v.secret_name.as_deref().unwrap_or_default();
        add_secret(&mut out, sources, name, v.items.as_deref(), v.optional, mode_bits(v.default_mode, None))?;
    } else if let Some(v) = &volume.downward_api {
        let items = v.items.as_deref().unwrap_or_default();
        add_downward(&mut out, pod, sources, items, mode_bits(v.default_mode, None))?;
    } else if let Some(v) = &volume.projected {
        add_projected(&mut out, pod, sources, v)?;
    } else {
        return Ok(None);
    }
    Ok(Some(out))
}

/// The expiration of a projected token, in seconds, with upstream's default of an hour.
pub fn token_key(audience: Option<&str>, expiration_s: Option<i64>) -> TokenKey {
    TokenKey { audience: audience.unwrap_or_default().to_owned(), expiration_s: expiration_s.unwrap_or(3600) }
}

fn add_projected(
    out: &mut Payload,
    pod: &Pod,
    sources: &Sources,
    volume: &ProjectedVolumeSource,
) -> Result<(), VolumeError> {
    let mode = mode_bits(volume.default_mode, None);
    for source in volume.sources.iter().flatten() {
        add_projection(out, pod, sources, source, mode)?;
    }
    Ok(())
}

fn add_projection(
    out: &mut Payload,
    pod: &Pod,
    sources: &Sources,
    source: &VolumeProjection,
    mode: u32,
) -> Result<(), VolumeError> {
    if let Some(s) = &source.config_map {
        add_config_map(out, sources, &s.name, s.items.as_deref(), s.optional, mode)?;
    }
    if let Some(s) = &source.secret {
        add_secret(out, sources, &s.name, s.items.as_deref(), s.optional, mode)?;
    }
    if let Some(s) = &source.downward_api {
        add_downward(out, pod, sources, s.items.as_deref().unwrap_or_default(), mode)?;
    }
    if let Some(s) = &source.service_account_token {
        let key = token_key(s.audience.as_deref(), s.expiration_seconds);
        let token =
            sources.tokens.get(&key).ok_or_else(|| VolumeError::Token("no token was issued".into()))?;
        let owner = file_owner(pod);
        let private = owner.is_some() || fs_group(pod).is_some();
        let mode = if private { PRIVATE_MODE } else { mode };
        insert(out, &s.path, FileProjection { data: token.clone().into_bytes(), mode, owner })?;
    }
    if source.cluster_trust_bundle.is_some() {
        return Err(VolumeError::Unsupported("clusterTrustBundle"));
    }
    if source.pod_certificate.is_some() {
        return Err(VolumeError::Unsupported("podCertificate"));
    }
    Ok(())
}

fn add_config_map(
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

fn add_secret(
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
    let pair = |(k, v): (&'_ String, &'_ ByteString)| (k.clone(), v.0.clone());
    let owned: BTreeMap<String, Vec<u8>> = secret.data.iter().flatten().map(pair).collect();
    let data = owned.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
    add_keys(out, &data, items, optional, mode, VolumeError::SecretKeyMissing)
}

fn add_keys(
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

fn add_downward(
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

fn insert(out: &mut Payload, path: &str, file: FileProjection) -> Result<(), VolumeError> {
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
fn mode_bits(own: Option<i32>, fallback: Option<u32>) -> u32 {
    let own = own.and_then(|m| u32::try_from(m).ok());
    own.or(fallback).unwrap_or(DEFAULT_MODE.unsigned_abs()) & 0o777
}

/// The group that owns the pod's volumes.
pub fn fs_group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn files(volume: Value, security: Value) -> Result<Vec<String>, String> {
        let mut volume = volume;
        volume["name"] = json!("v");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "labels": {"a": "1"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}}}],
                "securityContext": security},
        }))
        .expect("a pod");
        let volume: Volume = serde_json::from_value(volume).expect("a volume");
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AA=="}}))
                .expect("map");
        let mut sources = Sources::default();
        sources.config_maps.insert("m".into(), Arc::new(map));
        sources.tokens.insert(token_key(None, Some(3607)), "tok".into());
        let payload = of_volume(&pod, &volume, &sources).map_err(|e| e.to_string())?.expect("made of files");
        let line = |(path, f): (&String, &FileProjection)| {
            format!(
                "{path} {:o} {} {}",
                f.mode,
                f.owner.unwrap_or(0),
                String::from_utf8_lossy(&f.data).escape_debug()
            )
        };
        Ok(payload.iter().map(line).collect())
    }

    #[test]
    fn whole_map_items_and_modes() {
        let all = files(json!({"configMap": {"name": "m"}}), json!({})).expect("files");
        assert_eq!(all, ["a 644 0 1", "b 644 0 2", "c 644 0 \\0"]);
        let items = json!([{"key": "b", "path": "d/./x", "mode": 0o400}, {"key": "a", "path": "y"}]);
        let some =
            files(json!({"configMap": {"name": "m", "items": items, "defaultMode": 0o600}}), json!({}));
        assert_eq!(some.expect("files"), ["d/x 400 0 2", "y 600 0 1"]);
    }

    #[test]
    fn missing_things_are_errors_unless_optional() {
        let check = |volume: Value, expect: &str| {
            assert_eq!(files(volume, json!({})).expect_err("an error"), expect);
        };
        check(json!({"configMap": {"name": "no"}}), "configmap \"no\" not found");
        check(json!({"secret": {"secretName": "no"}}), "secret \"no\" not found");
        let item = json!([{"key": "z", "path": "z"}]);
        check(
            json!({"configMap": {"name": "m", "items": item}}),
            "configmap references non-existent config key: z",
        );
        let hostile = json!([{"key": "a", "path": "../x"}]);
        check(
            json!({"configMap": {"name": "m", "items": hostile}}),
            "invalid path \"../x\": it must be relative and must not contain '..'",
        );
        assert!(
            files(json!({"secret": {"secretName": "no", "optional": true}}), json!({}))
                .expect("ok")
                .is_empty()
        );
    }

    #[test]
    fn projected_joins_its_sources() {
        let volume = json!({"projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}},
                {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}}]}});
        let plain = files(volume.clone(), json!({})).expect("files");
        assert_eq!(plain, ["ca.crt 644 0 1", "cpu 644 0 2", "ns 644 0 ns", "token 644 0 tok"]);
        let user = files(volume, json!({"runAsUser": 7})).expect("files");
        assert_eq!(user[3], "token 600 7 tok");
    }
}
