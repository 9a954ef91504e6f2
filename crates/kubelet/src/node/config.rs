//! Settings of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use tokio::sync::watch;

use crate::node_facts::OwnNodeCell;
use crate::pressure::State;

/// How the node presents itself.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The Node object's name; also its `kubernetes.io/hostname`.
    pub name: String,
    /// Labels besides those every node has. Those a node may not give itself (`node-role.kubernetes.io/…`)
    /// are left out: see [`super::roles`].
    pub labels: BTreeMap<String, String>,
    /// Taints the node is registered with.
    pub taints: Vec<Taint>,
    /// Its addresses as they are now, the primary one first; see [`detect_ip`].
    pub ips: watch::Receiver<Vec<IpAddr>>,
    /// What the node is short of now.
    pub pressure: watch::Receiver<State>,
    /// The port of the node's HTTPS API; 10250 upstream.
    pub port: u16,
    /// The node agent's folder: its file system is the node's ephemeral storage.
    pub root: PathBuf,
    /// The volumes that pods here use and that must not be detached.
    pub volumes_in_use: watch::Receiver<BTreeSet<String>>,
    /// Which of them the API has acknowledged.
    pub volumes_known: Arc<watch::Sender<BTreeSet<String>>>,
    /// How many pods may run here; 110 upstream.
    pub max_pods: u32,
    /// Where those who take pods on find the newest of the node's object.
    pub own: OwnNodeCell,
}

/// The address this machine uses towards the world: that of its default route. No packet is sent.
/// `None` without any route.
pub fn detect_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // A documentation address (RFC 5737): connecting a datagram socket only picks the route.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified())
}
