//! `knarr agent`: this machine's node, of a cluster whose control plane is elsewhere.
//!
//! Start with [`run`]. The process knows of its cluster only what joining wrote ([`crate::joined`]) and reaches the API
//! only over HTTPS. `node` assembles the node, `certificates` renews its identities, `seat` knows where on the machine the
//! node is. A server runs its members so, too (`roles::members`).

mod certificates;
mod seat;

use std::sync::Arc;

use anyhow::{Result, bail};
use base::{Clock, Metrics, Shutdown, Supervisor, SystemClock};
use client::Replaceable;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::api_access::ApiAccess;
use super::daemon::{self, DRAIN, wait_for_end};
use super::{addresses, node};
use crate::arguments::Agent;
use crate::host;
use crate::joining::{self, Ask};
use crate::process::ProcessRecord;
use crate::settings::Settings;
use seat::Seat;

/// What a member says to its server, on standard output.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// It is a node of the cluster; the token is not needed any more.
    Joined,
    /// Why it ends.
    Failed(String),
}

/// Runs until a signal, or until an essential part fails.
///
/// # Errors
/// Says what is missing or what failed, or why the machine could not join.
pub fn run(agent: &Agent) -> Result<()> {
    let seat = Seat::of(agent)?;
    let settings = Settings::of_agent(agent)?;
    let token = agent.token.clone().map_or_else(|| seat.token(), |token| Ok(Some(token)))?;
    let ask =
        Ask { server: agent.server.clone(), token, ca_hashes: agent.discovery_token_ca_cert_hash.clone() };
    let result = daemon::run(&seat.what(), &seat.pid_file, serve(&seat, settings, ask));
    if let Err(error) = &result {
        seat.say(&Word::Failed(format!("{error:#}")))?;
    }
    result
}

async fn serve(seat: &Seat, settings: Settings, ask: Ask) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(shutdown.clone());
    let name = settings.node_name.clone().map_or_else(host::name, Ok)?;
    ProcessRecord::own()?.write(&seat.pid_file)?;
    let joined = tokio::select! {
        joined = joining::enter(&seat.joined_dir, &name, &ask, clock.now()) => joined?,
        ended = wait_for_end(&shutdown) => return ended,
    };
    seat.say(&Word::Joined)?;
    // Only what is this machine's own: the names of links, the port.
    let here = seat.take(&name)?;
    let addresses = addresses::follow(&supervisor, None)?;
    let ways = Ways {
        node: Replaceable::new(client::https(&joined.node)?),
        network: Replaceable::new(client::https(&joined.network_agents)?),
    };
    let serving = certificates::serving(&joined, &name, &addresses.borrow())?;
    let metrics = Metrics::default();
    let config = node::Config {
        name,
        port: here.kubelet_port(),
        layout: seat.node.clone(),
        static_pods: seat.static_pods(&settings)?,
        settings,
        addresses,
        links: here.links(seat.index()),
        network: joined.network.clone(),
        parts: Vec::new(),
        log: seat.log(),
        resolv_conf: seat.resolv_conf(),
        labels: seat.labels(),
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
    certificates::keep(&seat.joined_dir, &joined, &config, &deps, &ways);
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
