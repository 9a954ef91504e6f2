//! `knarr agent`: this machine's node, of a cluster whose control plane is elsewhere.
//!
//! Start with [`run`]. The process knows of its cluster only what joining wrote ([`Joined`]) and reaches the API
//! only over HTTPS. `node` assembles the node.

use std::sync::Arc;

use anyhow::{Result, bail};
use base::{Clock, Shutdown, Supervisor, SystemClock};
use tokio::sync::mpsc;

use super::api_access::ApiAccess;
use super::daemon::{self, DRAIN, wait_for_end};
use super::{addresses, node};
use crate::arguments::Agent;
use crate::cluster::Cluster;
use crate::host;
use crate::joined::Joined;
use crate::layout::Layout;
use crate::process::ProcessRecord;
use crate::settings::Settings;
use crate::which::layout_of;

/// Runs until a signal, or until an essential part fails.
///
/// # Errors
/// Says what is missing or what failed.
pub fn run(agent: &Agent) -> Result<()> {
    let layout = layout_of(&agent.which)?;
    let settings = Settings::of_agent(agent)?;
    let joined = Joined::read(&agent.joined)?;
    daemon::run(&layout, serve(&layout, settings, joined))
}

async fn serve(layout: &Layout, settings: Settings, joined: Joined) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(shutdown.clone());
    let name = settings.node_name.clone().map_or_else(host::name, Ok)?;
    // Only what is this machine's own: the names of links, the port.
    let here = Cluster::load_or_create(layout, &name, Some(1))?;
    ProcessRecord::own()?.write(&layout.pid_file())?;
    host::prepare()?;
    let config = node::Config {
        nodes_here: vec![name.clone()],
        name,
        port: here.kubelet_port(0),
        layout: layout.node(0),
        settings,
        addresses: addresses::follow(&supervisor)?,
        links: here.links(0),
        network: joined.network,
        has_service_addresses: true,
        policy_socket: layout.node(0).policy_socket(),
        parts: Vec::new(),
        log: None,
    };
    let deps = node::Deps {
        api: ApiAccess::https(&joined.node, &joined.network_agents)?,
        serving: node::tls(&joined.serving, &joined.node.ca_pem)?,
        clock,
        supervisor: supervisor.clone(),
    };
    let (trouble, mut troubles) = mpsc::channel(1);
    node::start(&config, &deps, trouble).await?;
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
