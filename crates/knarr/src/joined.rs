//! What a node knows of a cluster whose control plane is elsewhere: identities, and addresses common to all nodes.
//!
//! Joining writes the file; start with [`Joined::read`]. Never connects to the cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use client::{Endpoint, kubeconfig};
use serde::Deserialize;

use crate::cluster::ClusterNetwork;
use crate::pki::Pair;

/// The node's part in a cluster.
pub struct Joined {
    /// The node's own identity, `system:node:NAME`.
    pub node: Endpoint,
    /// The identity of the node's network agents, `system:kube-proxy`.
    pub network_agents: Endpoint,
    /// The certificate of the node's HTTPS API.
    pub serving: Pair,
    pub network: ClusterNetwork,
}

/// The file: strict YAML. Relative paths start at its folder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    node_kubeconfig: PathBuf,
    network_kubeconfig: PathBuf,
    serving_certificate: PathBuf,
    serving_key: PathBuf,
    network: ClusterNetwork,
}

impl Joined {
    /// Reads the file and what it names.
    ///
    /// # Errors
    /// Names the file that is missing or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
        let file: File = serde_saphyr::from_str(&read(path)?)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("in {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let beside = |path: &Path| folder.join(path);
        Ok(Self {
            node: kubeconfig::endpoint(&beside(&file.node_kubeconfig))?,
            network_agents: kubeconfig::endpoint(&beside(&file.network_kubeconfig))?,
            serving: Pair {
                certificate_pem: read(&beside(&file.serving_certificate))?,
                key_pem: read(&beside(&file.serving_key))?,
            },
            network: file.network,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_where_everything_is_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let endpoint = |key: &str| Endpoint {
            server: "https://192.0.2.1:6443".into(),
            ca_pem: "ca".into(),
            certificate_pem: "certificate".into(),
            key_pem: key.into(),
        };
        kubeconfig::create(&dir.path().join("node"), "node", &endpoint("node's")).expect("written");
        kubeconfig::create(&dir.path().join("agents"), "agents", &endpoint("agents'")).expect("written");
        fs::write(dir.path().join("crt"), "serving").expect("written");
        fs::write(dir.path().join("key"), "serving's").expect("written");
        let text = "nodeKubeconfig: node\nnetworkKubeconfig: agents\nservingCertificate: crt\nservingKey: key\n\
                    network: {podCidr: 10.244.0.0/16, serviceCidr: 10.96.0.0/16, apiServiceIp: 10.96.0.1, dnsIp: 10.96.0.10, domain: cluster.local}\n";
        let path = dir.path().join("joined.yaml");
        fs::write(&path, text).expect("written");
        let joined = Joined::read(&path).expect("understood");
        assert_eq!(
            (joined.node.key_pem.as_str(), joined.network_agents.key_pem.as_str()),
            ("node's", "agents'")
        );
        assert_eq!(
            (joined.serving.key_pem.as_str(), joined.network.dns_ip),
            ("serving's", [10, 96, 0, 10].into())
        );
        fs::write(&path, format!("{text}token: x\n")).expect("written");
        let error = format!("{:#}", Joined::read(&path).err().expect("refused"));
        assert!(error.contains("token") && error.contains("joined.yaml"), "{error}");
    }
}
