//! The way to pods of other machines.

use anyhow::Result;
use network::overlay::{Overlay, OverlayConfig};

use super::AgentDeps;
use crate::roles::built::Built;

/// Begins to follow the nodes, unless somebody else connects the machines.
///
/// # Errors
/// When a range of pods cannot be parsed.
#[expect(clippy::unused_async, reason = "agents are built alike")]
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let (links, node) = (&deps.links, &deps.node);
    let Some(routing) = links.overlay.routing else {
        return Ok(Built::new(|shutdown| async move { shutdown.started().await }));
    };
    let config = OverlayConfig {
        // `knarr down` finds the link and the table by the bridge's name.
        name: format!("{}x", links.bridge),
        route_protocol: links.overlay.route_protocol,
        routing,
        pods: deps.network.pod_cidr.parse()?,
        range: links.subnet.parse()?,
        node: node.name.clone(),
        addresses: node.addresses.clone(),
    };
    let overlay = Overlay::new(config, deps.informers.cache());
    Ok(Built::new(|shutdown| overlay.run(shutdown)))
}
