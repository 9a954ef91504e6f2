//! `knarr agent`: this machine's node, of a cluster whose control plane is elsewhere.
//!
//! Start with [`run`]. The process knows of its cluster only what joining wrote ([`crate::joined`]) and reaches the API
//! only over HTTPS. `node` assembles the node, `certificates` renews its identities.

mod certificates;

use std::sync::Arc;

use anyhow::{Result, bail};
use base::{Clock, Metrics, Shutdown, Supervisor, SystemClock};
use client::Replaceable;
use tokio::sync::mpsc;

use super::api_access::ApiAccess;
use super::daemon::{self, DRAIN, wait_for_end};
use super::{addresses, node};
use crate::arguments::Agent;
use crate::cluster::Cluster;
use crate::host;
use crate::joining::{self, Ask};
use crate::layout::Layout;
use crate::process::ProcessRecord;
use crate::settings::Settings;
use crate::which::layout_of;

/// Runs until a signal, or until an essential part fails.
///
/// # Errors
/// Says what is missing or what failed, or why the machine could not join.
pub fn run(agent: &Agent) -> Result<()> {
    let layout = layout_of(&agent.which)?;
    let settings = Settings::of_agent(agent)?;
    let ask = Ask {
        server: agent.server.clone(),
        token: agent.token.clone(),
        ca_hashes: agent.discovery_token_ca_cert_hash.clone(),
    };
    daemon::run(&layout, serve(&layout, settings, ask))
}

async fn serve(layout: &Layout, settings: Settings, ask: Ask) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(shutdown.clone());
    let name = settings.node_name.clone().map_or_else(host::name, Ok)?;
    ProcessRecord::own()?.write(&layout.pid_file())?;
    let folder = layout.joined_dir();
    let joined = tokio::select! {
        joined = joining::enter(&folder, &name, &ask, clock.now()) => joined?,
        ended = wait_for_end(&shutdown) => return ended,
    };
    // Only what is this machine's own: the names of links, the port.
    let here = Cluster::load_or_create(layout, &name, Some(1))?;
    host::prepare()?;
    let addresses = addresses::follow(&supervisor)?;
    let ways = Ways {
        node: Replaceable::new(client::https(&joined.node)?),
        network: Replaceable::new(client::https(&joined.network_agents)?),
    };
    let serving = certificates::serving(&joined, &name, &addresses.borrow())?;
    let metrics = Metrics::default();
    let config = node::Config {
        nodes_here: vec![name.clone()],
        name,
        port: here.kubelet_port(0),
        layout: layout.node(0),
        settings,
        addresses,
        links: here.links(0),
        network: joined.network.clone(),
        has_service_addresses: true,
        policy_socket: layout.node(0).policy_socket(),
        parts: Vec::new(),
        log: None,
    };
    let deps = node::Deps {
        api: ApiAccess::https(ways.node.client(), ways.network.client(), &joined.node)?,
        serving,
        clock,
        supervisor: supervisor.clone(),
        metrics,
    };
    let (trouble, mut troubles) = mpsc::channel(1);
    node::start(&config, &deps, trouble).await?;
    certificates::keep(&folder, &joined, &config, &deps, &ways);
    tracing::info!(node = config.name, server = joined.node.server, "the node runs");
    let failed = async {
        match troubles.recv().await {
            Some(error) => error,
            // The network and its agents are there.
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = wait_for_end(&shutdown) => ended?,
        error = failed => bail!(error),
    }
    shutdown.start();
    supervisor.drain(DRAIN).await;
    Ok(())
}

/// The node's ways to the API, whose certificates are renewed.
struct Ways {
    node: Replaceable,
    network: Replaceable,
}
