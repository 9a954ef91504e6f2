//! The members: nodes of the server's cluster on the server's machine, beside the first, which is the machine itself. Each
//! is a `knarr agent` in a network namespace and with a host name of its own, that joins as another machine does.
//!
//! Start with [`Members`]. `portal` starts processes in a member's namespaces, `keeper` keeps the member's agent running.
//! Namespaces and containers outlive agents and servers: the next server finds them by their names. What all nodes of the
//! machine share is its file systems.

mod keeper;
mod portal;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base::{Clock, Supervisor, TaskKind};
use cni::config::Range;
use kube::Client;
use network::overlay;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::layout::{Layout, MAX_NODES};
use crate::settings::Settings;
use keeper::Keeper;
use portal::Portal;

/// The longest prefix of a range that has addresses for all.
const MAX_PREFIX: u8 = 28;

/// The network of the members, which is made before the first of them.
pub struct MembersNetwork {
    network: cni::members::MembersNetwork,
    shares_runtime: bool,
    is_made: bool,
}

impl MembersNetwork {
    /// As settings and cluster say.
    ///
    /// # Errors
    /// When the settings name no range of addresses.
    pub fn of(cluster: &Cluster, settings: &Settings) -> Result<Self> {
        let range = settings.node_subnet.clone().unwrap_or_else(|| cluster.members_range());
        let range = Range::parse(&range).context("nodeSubnet in the settings")?;
        if range.prefix > MAX_PREFIX {
            bail!("nodeSubnet in the settings: {range} has too few addresses for {MAX_NODES} nodes");
        }
        Ok(Self {
            network: cni::members::MembersNetwork { bridge: cluster.members_bridge(), range, mtu: None },
            shares_runtime: settings.container_runtime_endpoint.is_some(),
            is_made: false,
        })
    }

    /// The machine's own address in the network.
    pub fn gateway(&self) -> Ipv4Addr {
        self.network.range.gateway()
    }

    /// Makes the network, if that was not done yet. Packets are as large as those that leave the machine at the address.
    ///
    /// # Errors
    /// When its addresses are in use, the nodes would share a runtime, or the kernel refuses.
    pub async fn make(&mut self, machine: Option<IpAddr>) -> Result<()> {
        if self.is_made {
            return Ok(());
        }
        if self.shares_runtime {
            bail!(
                "several nodes on one machine need the built-in container runtime: take containerRuntimeEndpoint out of \
                 the settings, or start with --nodes 1"
            );
        }
        if let Some(IpAddr::V4(address)) = machine.filter(|address| !address.is_loopback()) {
            self.network.mtu = Some(overlay::underlay_mtu(address).await?);
        }
        cni::members::prepare(&self.network).await.map_err(|error| match error {
            taken @ cni::Error::Taken { .. } => anyhow::Error::new(taken).context(
                "the nodes of this machine need addresses: name a free range as nodeSubnet in the settings (--config)",
            ),
            other => anyhow::Error::new(other).context("making the network of the nodes of this machine"),
        })?;
        self.is_made = true;
        Ok(())
    }
}

/// What members are started from.
pub struct MembersDeps {
    pub layout: Layout,
    pub cluster: Cluster,
    /// The file of the server's settings, which are theirs, too.
    pub config: Option<PathBuf>,
    /// What of the settings the server's command line may have said otherwise: on which addresses node ports are.
    pub node_ports: Vec<String>,
    /// The cluster's CA, which they are told beside a token.
    pub ca_hash: String,
    /// May make tokens.
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub supervisor: Supervisor,
}

/// The members that run.
pub struct Members {
    network: MembersNetwork,
    deps: Arc<MembersDeps>,
    /// Why each ended last, if it does not run.
    started: Vec<watch::Receiver<Option<String>>>,
}

impl Members {
    pub fn new(network: MembersNetwork, deps: MembersDeps) -> Self {
        Self { network, deps: Arc::new(deps), started: Vec::new() }
    }

    /// Starts those that do not run yet of a cluster of so many nodes; returns before they are Ready. Each is kept
    /// running until shutdown.
    ///
    /// # Errors
    /// When the network or a namespace cannot be made.
    pub async fn start(&mut self, nodes: u8, machine: Option<IpAddr>) -> Result<()> {
        let first = u8::try_from(self.started.len()).unwrap_or(u8::MAX).saturating_add(1);
        for index in first..nodes {
            self.network.make(machine).await?;
            if self.started.is_empty() {
                self.keep_table();
            }
            let name = self.deps.cluster.node_name(index);
            let told = self.start_one(index, &name).await;
            self.started.push(told.with_context(|| format!("node {name}"))?);
        }
        Ok(())
    }

    /// Has the network's table made again when somebody takes the table away.
    fn keep_table(&self) {
        let shutdown = self.deps.supervisor.shutdown().clone();
        let keep = network::pod_tables::keep_members(self.network.network.clone(), shutdown);
        self.deps.supervisor.spawn(TaskKind::Background, "table of this machine's nodes", keep);
    }

    async fn start_one(&self, index: u8, name: &str) -> Result<watch::Receiver<Option<String>>> {
        let layout = self.deps.layout.node(index);
        layout.make().context("making the node's folders")?;
        cni::members::admit(&self.network.network, index, &layout.netns()).await?;
        let portal = Portal::open(&layout.netns(), name).await.context("entering the node's namespaces")?;
        let server = format!("https://{}:{}", self.network.gateway(), self.deps.cluster.api_port());
        let (tell, told) = watch::channel(None);
        let keeper = Keeper { index, name: name.to_owned(), server, portal, deps: self.deps.clone(), tell };
        self.deps.supervisor.spawn(TaskKind::Background, "node of this machine", keeper.run());
        Ok(told)
    }

    /// Why the node of this position does not run, if it is a member that has ended.
    pub fn why_not(&self, index: u8) -> Option<String> {
        self.started.get(usize::from(index.checked_sub(1)?))?.borrow().clone()
    }
}
