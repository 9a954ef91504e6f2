//! Addresses of load balancers on the machine's link.

use anyhow::Result;
use network::announce::{AnnounceConfig, AnnounceView, Announcer};

use super::AgentDeps;
use crate::roles::built::Built;

/// Begins to follow the watches. Whether there is a pool of addresses only the Services say.
#[expect(clippy::unused_async, reason = "agents are built alike")]
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let view = AnnounceView {
        services: deps.informers.cache(),
        slices: deps.informers.cache(),
        nodes: deps.informers.cache(),
    };
    let config = AnnounceConfig {
        // `knarr down` finds the link and the table by the bridge's name.
        name: format!("{}l", deps.links.bridge),
        condition: controllers::load_balancer::FROM_POOL,
        node: deps.node.name.clone(),
        addresses: deps.node.addresses.clone(),
    };
    let announcer = Announcer::new(config, view);
    Ok(Built::new(|shutdown| announcer.run(shutdown)))
}
