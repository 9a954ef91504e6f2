//! [`Wanted`]: a certificate as a node asks for it.

use std::net::IpAddr;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair};

use crate::pki::distinguished_name;
use crate::pki::facts::Facts;

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
/// The user that a node's network agents are.
const NETWORK_AGENTS: &str = "system:kube-proxy";
/// Keys are elliptic: they sign, and encipher no keys.
const CLIENT: &[&str] = &["digital signature", "client auth"];
const SERVER: &[&str] = &["digital signature", "server auth"];

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub signer: &'static str,
    pub usages: &'static [&'static str],
    pub common_name: String,
    organization: Option<&'static str>,
    /// DNS names and IP addresses.
    names: Vec<String>,
}

/// The user that a node is.
pub fn node_user(node: &str) -> String {
    format!("{NODE_PREFIX}{node}")
}

/// The node of a user, where the user is one.
pub fn node_of(user: &str) -> Option<&str> {
    user.strip_prefix(NODE_PREFIX)
}

impl Wanted {
    /// For the node to call the API with.
    pub fn node(node: &str) -> Self {
        Self {
            signer: "kubernetes.io/kube-apiserver-client-kubelet",
            usages: CLIENT,
            common_name: node_user(node),
            organization: Some(NODES),
            names: Vec::new(),
        }
    }

    /// For the node's network agents to call the API with.
    pub fn network_agents() -> Self {
        Self {
            signer: "kubernetes.io/kube-apiserver-client",
            usages: CLIENT,
            common_name: NETWORK_AGENTS.to_owned(),
            organization: None,
            names: Vec::new(),
        }
    }

    /// For the node to be called by, under its name and at its addresses.
    pub fn serving(node: &str, addresses: &[IpAddr]) -> Self {
        let addresses = addresses.iter().map(ToString::to_string);
        Self {
            signer: "kubernetes.io/kubelet-serving",
            usages: SERVER,
            common_name: node_user(node),
            organization: Some(NODES),
            names: std::iter::once(node.to_owned()).chain(addresses).collect(),
        }
    }

    #[cfg(test)]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a certificate is this one. A certificate for more names is too, until it is renewed.
    pub fn is(&self, facts: &Facts) -> bool {
        facts.common_name == self.common_name && facts.covers(&self.names)
    }

    /// The signing request, in PEM.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn signing_request(&self, key: &KeyPair) -> Result<String> {
        let request = self.parameters()?.serialize_request(key).context("making a signing request")?;
        request.pem().context("making a signing request")
    }

    /// A certificate that nobody vouches for, in PEM: for a server that waits for another.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn self_signed(&self, key: &KeyPair) -> Result<String> {
        Ok(self.parameters()?.self_signed(key).context("signing a certificate")?.pem())
    }

    fn parameters(&self) -> Result<CertificateParams> {
        let mut parameters = CertificateParams::new(self.names.clone()).context("a certificate's names")?;
        parameters.distinguished_name = distinguished_name(&self.common_name, self.organization);
        Ok(parameters)
    }
}
