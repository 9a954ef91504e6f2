//! What a node knows of a cluster whose control plane is elsewhere: identities, and addresses common to all nodes.
//!
//! Joining writes it down with [`Joined::write`], every start reads it with [`Joined::read`]. Keys are readable by root
//! alone. Never connects to the cluster.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use client::{Endpoint, kubeconfig};

use crate::cluster::ClusterNetwork;
use crate::durable::write_durably;
use crate::pki::Pair;

/// The node's part in a cluster.
pub struct Joined {
    /// The node's own identity, `system:node:NAME`.
    pub node: Endpoint,
    /// The identity of the node's network agents, `system:kube-proxy`.
    pub network_agents: Endpoint,
    /// The certificate of the node's HTTPS API, once it has one.
    pub serving: Option<Pair>,
    pub network: ClusterNetwork,
}

/// The context in the kubeconfig of the node's own identity.
const NODE: &str = "node";
/// The context in that of its network agents.
const NETWORK: &str = "network";

/// The paths below the folder.
pub struct Files<'a>(pub &'a Path);

impl Files<'_> {
    fn kubeconfig(&self, context: &str) -> PathBuf {
        self.0.join(format!("{context}.kubeconfig"))
    }

    /// Certificate and key in one file, so that they always fit.
    fn serving(&self) -> PathBuf {
        self.0.join("serving.pem")
    }

    /// Written last: without it nothing else counts.
    fn network(&self) -> PathBuf {
        self.0.join("network.json")
    }

    /// Writes down a renewed certificate of the node itself.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_node(&self, endpoint: &Endpoint) -> Result<()> {
        Ok(kubeconfig::create(&self.kubeconfig(NODE), NODE, endpoint)?)
    }

    /// The same for its network agents.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_network_agents(&self, endpoint: &Endpoint) -> Result<()> {
        Ok(kubeconfig::create(&self.kubeconfig(NETWORK), NETWORK, endpoint)?)
    }

    /// The same for its HTTPS API.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_serving(&self, pair: &Pair) -> Result<()> {
        let whole = format!("{}{}", pair.certificate_pem, pair.key_pem);
        write_durably(&self.serving(), whole.as_bytes(), 0o600)
    }
}

impl Joined {
    /// Reads what joining wrote; `None` where the machine has not joined.
    ///
    /// # Errors
    /// Names the file that is damaged, or missing beside the others.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let files = Files(folder);
        let Some(network) = text(&files.network())? else { return Ok(None) };
        let network = serde_json::from_str(&network)
            .with_context(|| format!("{} is damaged", files.network().display()))?;
        let serving = text(&files.serving())?;
        Ok(Some(Self {
            node: kubeconfig::endpoint(&files.kubeconfig(NODE))?,
            network_agents: kubeconfig::endpoint(&files.kubeconfig(NETWORK))?,
            serving: serving.map(|whole| Pair { certificate_pem: whole.clone(), key_pem: whole }),
            network,
        }))
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("closing {} to others", folder.display()))?;
        let files = Files(folder);
        files.write_node(&self.node)?;
        files.write_network_agents(&self.network_agents)?;
        if let Some(serving) = &self.serving {
            files.write_serving(serving)?;
        }
        write_durably(&files.network(), &serde_json::to_vec_pretty(&self.network)?, 0o600)
    }
}

/// The file's text; `None` where there is no file.
fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::certificates::wanted::Wanted;

    /// The part of a node that has joined.
    pub fn joined(node: &str) -> Joined {
        let key = rcgen::KeyPair::generate().expect("a key");
        let endpoint = |wanted: Wanted| Endpoint {
            server: "https://192.0.2.1:6443".into(),
            ca_pem: "ca".into(),
            certificate_pem: wanted.self_signed(&key).expect("signed"),
            key_pem: key.serialize_pem(),
        };
        Joined {
            node: endpoint(Wanted::node(node)),
            network_agents: endpoint(Wanted::network_agents()),
            serving: None,
            network: ClusterNetwork {
                pod_cidr: "10.244.0.0/16".into(),
                service_cidr: "10.96.0.0/16".into(),
                api_service_ip: [10, 96, 0, 1].into(),
                dns_ip: [10, 96, 0, 10].into(),
                domain: "cluster.local".into(),
            },
        }
    }

    #[test]
    fn what_joining_wrote_is_read_and_by_root_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("joined");
        assert!(Joined::read(&folder).expect("nothing is wrong").is_none());
        let mut written = joined("n1");
        written.write(&folder).expect("written");
        let read = Joined::read(&folder).expect("read").expect("there");
        assert_eq!(read.node.certificate_pem, written.node.certificate_pem);
        assert_eq!(read.network_agents.key_pem, written.network_agents.key_pem);
        assert!(read.serving.is_none());
        assert_eq!(read.network.dns_ip, written.network.dns_ip);

        let serving = Pair { certificate_pem: "certificate\n".into(), key_pem: "key\n".into() };
        Files(&folder).write_serving(&serving).expect("written");
        written.serving = Joined::read(&folder).expect("read").expect("there").serving;
        assert_eq!(written.serving.expect("there").key_pem, "certificate\nkey\n");
        for file in ["node.kubeconfig", "network.kubeconfig", "serving.pem", "network.json"] {
            let mode = fs::metadata(folder.join(file)).expect(file).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);

        fs::remove_file(folder.join("node.kubeconfig")).expect("removed");
        let why = format!("{:#}", Joined::read(&folder).err().expect("refused"));
        assert!(why.contains("node.kubeconfig"), "{why}");
        fs::write(folder.join("network.json"), "{").expect("written");
        let why = format!("{:#}", Joined::read(&folder).err().expect("refused"));
        assert!(why.contains("network.json is damaged"), "{why}");
    }
}
