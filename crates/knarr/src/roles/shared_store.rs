//! An etcd as a cluster's store: who may use it, and what the servers that share it must have in common.
//!
//! The first server writes down what the cluster is: its ranges of addresses, and fingerprints of its authorities and of
//! the key that signs tokens. Every other takes the ranges over and starts only with the same authorities and key: tokens
//! and certificates of one server would mean nothing to another otherwise.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use etcd::{Config, Etcd};
use ring::digest;
use serde::{Deserialize, Serialize};
use store::{Error, Expect, Store};

use crate::arguments::EtcdSettings;
use crate::cluster::ClusterNetwork;
use crate::pki::Pki;

/// Where the servers write down what they share.
const KEY: &str = "/registry/knarr.io/cluster";
/// What all servers have from the first, in the folder `pki`.
const FILES: [&str; 3] = ["ca.crt", "front-proxy-ca.crt", "sa.key"];
/// What values in protobuf begin with, as upstream's API servers write them.
const PROTOBUF: &[u8] = b"k8s\0";

/// What the servers of a cluster have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Common {
    pub network: ClusterNetwork,
    /// Of the files that are copied from the first server, by name.
    pub fingerprints: std::collections::BTreeMap<String, String>,
}

/// Connects to etcd.
///
/// # Errors
/// Says what each address answered, and what can be done.
pub async fn connect(settings: &EtcdSettings) -> Result<Etcd> {
    let config = Config { translate: Some(Arc::new(|_, value| readable(value))), ..settings.config()? };
    let etcd = Etcd::connect(config).await.with_context(|| format!("connecting to {}", settings.place()))?;
    tracing::info!(version = etcd.version(), place = settings.place(), "the store is etcd");
    Ok(etcd)
}

/// Values are JSON. What upstream's API servers wrote in protobuf is read, too, and written as JSON with the next change.
///
/// # Errors
/// When it is not as its kind says.
pub fn readable(value: Bytes) -> Result<Bytes, String> {
    if value.starts_with(PROTOBUF) {
        let (api_version, kind) = api::codec::protobuf::type_of(&value)?;
        let version = api::GroupVersion::parse(&api_version).ok_or("its version is no version")?;
        let gvk = api::GroupVersionKind::new(&version.group, &version.version, &kind);
        if resources::schema_of_kind(&gvk).is_none() {
            // Of a kind that is not served here: nobody looks into it, and it stays as it is.
            return Ok(value);
        }
        let object = resources::protobuf::read(&value)?;
        return serde_json::to_vec(&object).map(Bytes::from).map_err(|error| error.to_string());
    }
    Ok(value)
}

/// What the cluster in etcd is; `None` when no server has used it yet.
///
/// # Errors
/// The store's; and when a cluster that has had objects there finds none.
pub async fn common(etcd: &Etcd, settings: &EtcdSettings, has_store: bool) -> Result<Option<Common>> {
    let (found, _) = etcd.get(KEY).await.context("reading what the cluster in etcd is")?;
    if let Some(found) = found {
        let common = serde_json::from_slice(&found.value);
        return Ok(Some(common.with_context(|| format!("{KEY} in {} is damaged", settings.place()))?));
    }
    if has_store {
        bail!(
            "{} holds nothing of this cluster, which has had its objects there: restore etcd from a snapshot, or name the \
             etcd and prefix that hold them; `knarr down --purge` forgets the cluster",
            settings.place()
        );
    }
    Ok(None)
}

/// Writes down what the cluster is, or compares it with what others wrote.
///
/// # Errors
/// When this server has other authorities or another key than the others; the store's.
pub async fn agree(etcd: &Etcd, own: &Common, pki_dir: &Path, settings: &EtcdSettings) -> Result<()> {
    let value = serde_json::to_vec(own)?;
    let found = match etcd.put(KEY, value.into(), Expect::Absent, None).await {
        Ok(_) => return Ok(()),
        Err(Error::Conflict { current: Some(found) }) => found,
        Err(error) => return Err(error).context("writing down what the cluster in etcd is"),
    };
    let common: Common = serde_json::from_slice(&found.value)?;
    let differs = |name: &&String| common.fingerprints.get(*name) != own.fingerprints.get(*name);
    let other: Vec<&str> = own.fingerprints.keys().filter(differs).map(String::as_str).collect();
    if !other.is_empty() {
        bail!(
            "{} holds a cluster whose {} are other ones than in {}: copy ca.crt, ca.key, front-proxy-ca.crt, \
             front-proxy-ca.key and sa.key from the `pki` folder of a server of that cluster before this one starts; or \
             choose another --etcd-prefix for a cluster of its own",
            settings.place(),
            other.join(" and "),
            pki_dir.display()
        );
    }
    if common.network != own.network {
        bail!(
            "{} holds a cluster with other ranges of addresses ({})",
            settings.place(),
            common.network.pod_cidr
        );
    }
    Ok(())
}

impl Common {
    pub fn of(network: ClusterNetwork, pki: &Pki) -> Self {
        Self::of_texts(network, [&pki.ca_pem, &pki.front_proxy_ca_pem, &pki.service_account_key_pem])
    }

    /// The same of a cluster that does not run.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of_files(network: ClusterNetwork, pki_dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = pki_dir.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let [ca, front_proxy_ca, key] = FILES;
        Ok(Self::of_texts(network, [&read(ca)?, &read(front_proxy_ca)?, &read(key)?]))
    }

    fn of_texts(network: ClusterNetwork, texts: [&String; 3]) -> Self {
        let fingerprint = |text: &String| {
            let digest = digest::digest(&digest::SHA256, text.trim().as_bytes());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let fingerprints =
            FILES.into_iter().zip(texts).map(|(name, text)| (name.to_owned(), fingerprint(text)));
        Self { network, fingerprints: fingerprints.collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_upstream_are_read_and_what_is_encrypted_stays() {
        let map = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b"}, "data": {"k": "v"},
        });
        let stored = resources::protobuf::object(&map).expect("a kind with a message");
        assert!(stored.starts_with(PROTOBUF));
        let read = readable(Bytes::from(stored)).expect("it is read");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&read).expect("JSON"), map);
        let plain = Bytes::from_static(b"{}");
        assert_eq!(readable(plain.clone()), Ok(plain));
        let sealed = Bytes::from_static(b"k8s:enc:aescbc:v1:key1:x");
        assert_eq!(readable(sealed.clone()), Ok(sealed), "that is read above, with its key");
        assert!(readable(Bytes::from_static(b"k8s\0\xff")).is_err());
    }

    #[test]
    fn other_authorities_are_another_cluster() {
        let network = crate::cluster::at(0).network();
        let texts = ["ca", "front", "key"].map(str::to_owned);
        let own = Common::of_texts(network.clone(), [&texts[0], &texts[1], &texts[2]]);
        let other = Common::of_texts(network, [&texts[0], &texts[1], &texts[0]]);
        let differ = |name: &str| own.fingerprints[name] != other.fingerprints[name];
        assert_eq!(FILES.map(differ), [false, false, true]);
    }
}
