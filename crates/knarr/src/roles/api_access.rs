//! How a node reaches the API: a value made by the role that starts the node, in process or over HTTPS.
//!
//! [`ApiAccess`] is all that a node knows of a control plane. A server gives its own node clients without a socket
//! (`roles::server`); a node without a server beside it gets clients over HTTPS, with certificates of its own, and a
//! relay to the server for the API's Service address.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use client::Endpoint;
use kube::Client;
use network::relay::Relay;

use super::built::Built;

/// A node's ways to the API, one for each of its identities.
#[derive(Clone)]
pub struct ApiAccess {
    /// As the node itself: `system:node:NAME` of the group `system:nodes`.
    pub node: Client,
    /// As the agents of its network: `system:kube-proxy`.
    pub network: Client,
    /// Serves the API to the node's pods.
    pub door: Arc<dyn Door>,
}

impl ApiAccess {
    /// The ways of a node without a server beside it.
    ///
    /// # Errors
    /// When the server's address cannot be parsed.
    pub fn https(node: Client, network: Client, server: &Endpoint) -> Result<Self> {
        Ok(Self { node, network, door: Arc::new(Relayed { server: server.authority()? }) })
    }
}

/// Lets the API be reached on an address of this machine.
#[async_trait]
pub trait Door: Send + Sync {
    /// Listens on the address; connections wait until what is returned runs.
    ///
    /// # Errors
    /// When the address is taken or not the machine's.
    async fn open(&self, address: SocketAddr) -> Result<Built>;
}

/// Passes connections on to the server.
struct Relayed {
    /// `host:port`
    server: String,
}

#[async_trait]
impl Door for Relayed {
    async fn open(&self, address: SocketAddr) -> Result<Built> {
        let relay = Relay::bind(address, &self.server).await;
        let relay = relay.with_context(|| format!("listening on {address}"))?;
        Ok(Built::new(|shutdown| relay.run(shutdown)))
    }
}
