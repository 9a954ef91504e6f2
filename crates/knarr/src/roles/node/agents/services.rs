//! The Service proxy, for all nodes of the machine.

use anyhow::Result;
use informer::Scope;
use network::services::{Services, ServicesConfig, ServicesView};

use super::AgentDeps;
use crate::roles::built::Built;

/// Begins to follow the watches.
///
/// # Errors
/// When the range of pods cannot be parsed.
#[expect(clippy::unused_async, reason = "agents are built alike")]
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let (cluster, machine) = (&deps.network, &deps.machine);
    let first = machine.names.first().map_or("", String::as_str);
    let view = ServicesView {
        services: deps.informers.cache(),
        slices: deps.informers.cache(),
        node: deps.informers.cache_of(Scope::fields(format!("metadata.name={first}"))),
    };
    let config = ServicesConfig {
        // `knarr down` finds the table by the bridge's name.
        table: format!("{}-services", deps.links.bridge),
        pods: cluster.pod_cidr.parse()?,
        nodes: machine.names.clone(),
        addresses: machine.addresses.clone(),
        answered: vec![cluster.api_service_ip, cluster.dns_ip],
    };
    let services = Services::new(config, view);
    Ok(Built::new(|shutdown| services.run(shutdown)))
}
