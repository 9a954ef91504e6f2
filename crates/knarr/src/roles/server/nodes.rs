//! The nodes of the server's machine: the first in this process, the others as members.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use base::Metrics;
use tokio::sync::mpsc;

use super::Here;
use crate::cluster::Cluster;
use crate::host;
use crate::joining::cluster_info::ClusterInfo;
use crate::roles::control_plane::{self, ControlPlane};
use crate::roles::members::{Members, MembersDeps, MembersNetwork};
use crate::roles::parts::Parts;
use crate::roles::{daemon, node, readiness};

/// See the module's documentation.
pub(super) struct Nodes<'a> {
    parts: &'a Parts,
    plane: &'a ControlPlane,
    here: &'a Here,
    members: Members,
    count: u8,
    /// Why the first one's network cannot be made; ends when it is there.
    troubles: mpsc::Receiver<anyhow::Error>,
}

impl<'a> Nodes<'a> {
    /// Starts as many as the cluster has.
    ///
    /// # Errors
    /// Says what could not be started.
    pub async fn start(
        parts: &'a Parts,
        plane: &'a ControlPlane,
        here: &'a Here,
        network: MembersNetwork,
        config: Option<PathBuf>,
    ) -> Result<Self> {
        let (trouble, troubles) = mpsc::channel(1);
        let count = parts.cluster.nodes;
        let ca_pem = parts.pki.ca_pem.clone();
        let deps = MembersDeps {
            layout: parts.layout.clone(),
            cluster: parts.cluster.clone(),
            config,
            node_ports: parts.settings.node_port_addresses.clone(),
            ca_hash: ClusterInfo { server: String::new(), ca_pem }.ca_hash()?,
            client: plane.client("kube-apiserver", "system:apiserver", &["system:masters"]),
            clock: parts.clock.clone(),
            supervisor: parts.supervisor.clone(),
        };
        let mut nodes = Self { parts, plane, here, members: Members::new(network, deps), count, troubles };
        if count > 0 {
            nodes.start_first(trouble).await?;
        }
        nodes.members.start(count, nodes.machine()).await?;
        Ok(nodes)
    }

    /// The node of this process, which reaches the API without a socket.
    async fn start_first(&self, trouble: mpsc::Sender<anyhow::Error>) -> Result<()> {
        let parts = self.parts;
        let config = node::Config {
            name: parts.cluster.node_name(0),
            port: parts.cluster.kubelet_port(),
            layout: parts.layout.node(0),
            settings: parts.settings.clone(),
            static_pods: node::static_pods(&parts.layout, &parts.settings)?,
            addresses: self.here.addresses.clone(),
            links: parts.cluster.links(0),
            network: parts.cluster.network(),
            parts: control_plane::shown(parts.cluster.api_port()),
            log: daemon::in_background().then(|| parts.layout.server_log()),
            resolv_conf: host::RESOLV_CONF.into(),
            labels: BTreeMap::new(),
        };
        let deps = node::Deps {
            api: self.plane.access(&config.name),
            serving: self.here.tls.clone(),
            clock: parts.clock.clone(),
            supervisor: parts.supervisor.clone(),
            metrics: Metrics::default(),
        };
        node::start(&config, &deps, trouble).await
    }

    /// The machine's best address.
    fn machine(&self) -> Option<IpAddr> {
        self.here.addresses.borrow().first().copied()
    }

    pub fn names(&self) -> Vec<String> {
        (0..self.count).map(|index| self.parts.cluster.node_name(index)).collect()
    }

    /// Waits until all are Ready; a line for each that is not in time.
    ///
    /// # Errors
    /// When the first one's network cannot be made, or a node cannot be labelled.
    pub async fn wait_ready(&mut self, patience: Duration) -> Result<Vec<String>> {
        let names = self.names();
        // The node agents may be Ready before that, by the network of the last run.
        let troubles = &mut self.troubles;
        let networks = async {
            match tokio::time::timeout(patience, troubles.recv()).await {
                Ok(Some(error)) => Err(error),
                Ok(None) | Err(_) => Ok(()),
            }
        };
        let client = self.plane.client("kube-apiserver", "system:apiserver", &["system:masters"]);
        let nodes = readiness::wait_ready(client, &names, &self.parts.supervisor, patience);
        let (late, ()) = tokio::try_join!(nodes, networks)?;
        let line = |(name, line): (String, String)| {
            let index =
                names.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok());
            match index.and_then(|index| self.members.why_not(index)) {
                Some(why) => format!("{line}: {why}"),
                None => line,
            }
        };
        Ok(late.into_iter().map(line).collect())
    }

    /// Starts the nodes that the cluster has been given since; what goes wrong is logged.
    pub async fn add(&mut self) {
        if let Err(error) = self.try_add().await {
            tracing::error!(error = %format!("{error:#}"), "nodes cannot be added");
        }
    }

    async fn try_add(&mut self) -> Result<()> {
        let nodes =
            Cluster::load(&self.parts.layout).context("reading how many nodes there are to be")?.nodes;
        self.members.start(nodes, self.machine()).await?;
        self.count = self.count.max(nodes);
        tracing::info!(nodes = self.count, "the cluster has more nodes");
        Ok(())
    }
}
