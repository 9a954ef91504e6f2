//! [`ClusterInfo`]: where a cluster's API is and by which CA, as the ConfigMap `kube-public/cluster-info` says it to
//! everybody. Whether to believe it is decided by the signature of a token, and by the hash of the CA's key.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::ConfigMap;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

pub const NAMESPACE: &str = "kube-public";
pub const NAME: &str = "cluster-info";
/// What a hash of a CA's key begins with.
const HASH_PREFIX: &str = "sha256:";

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `https://host:port`
    pub server: String,
    pub ca_pem: String,
}

#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(default)]
    clusters: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

/// The signature of a token in the ConfigMap, if it is there.
pub fn signature<'m>(map: &'m ConfigMap, id: &str) -> Option<&'m str> {
    map.data.as_ref()?.get(&format!("jws-kubeconfig-{id}")).map(String::as_str)
}

fn kubeconfig(map: &ConfigMap) -> Result<&str> {
    let text = map.data.as_ref().and_then(|data| data.get("kubeconfig")).filter(|text| !text.is_empty());
    text.map(String::as_str).with_context(|| {
        format!(
            "there is no kubeconfig key in the {NAME} ConfigMap. This API Server isn't set up for token bootstrapping, can't connect"
        )
    })
}

impl ClusterInfo {
    /// What the ConfigMap says, believed.
    ///
    /// # Errors
    /// When it is not what every cluster publishes.
    pub fn read(map: &ConfigMap) -> Result<Self> {
        let malformed = || format!("malformed kubeconfig in the {NAME} ConfigMap");
        let config: Kubeconfig = serde_saphyr::from_str(kubeconfig(map)?)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(malformed)?;
        let [Named { cluster }] = config.clusters.as_slice() else { bail!(malformed()) };
        let ca = BASE64_STANDARD.decode(&cluster.certificate_authority_data).with_context(malformed)?;
        let ca_pem = String::from_utf8(ca).with_context(malformed)?;
        Ok(Self { server: cluster.server.clone(), ca_pem })
    }

    /// The hash of the CA's public key, `sha256:…`, as kubeadm writes it.
    ///
    /// # Errors
    /// When the CA's certificate cannot be read.
    pub fn ca_hash(&self) -> Result<String> {
        let unreadable = || format!("failed to parse cluster CA from the {NAME} ConfigMap");
        let (_, block) = x509_parser::pem::parse_x509_pem(self.ca_pem.as_bytes()).with_context(unreadable)?;
        let (_, certificate) = X509Certificate::from_der(&block.contents).with_context(unreadable)?;
        let hash = digest(&SHA256, certificate.public_key().raw);
        Ok(hash.as_ref().iter().fold(HASH_PREFIX.to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }
}
