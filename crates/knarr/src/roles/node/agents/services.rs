//! The Service proxy.

use std::sync::Arc;

use anyhow::Result;
use client::{EventType, Recorder};
use informer::Scope;
use k8s_openapi::api::core::v1::ObjectReference;
use network::services::{NodePorts, Notices, Services, ServicesConfig, ServicesView};

use super::AgentDeps;
use crate::cluster;
use crate::roles::built::Built;

/// What the table's name ends with, after the bridge's.
const TABLE: &str = "-services";

/// The proxy's notices as Events of the Services.
struct Events(Recorder);

impl Notices for Events {
    fn warn(&self, service: &ObjectReference, reason: &'static str, message: String) {
        self.0.event(service, EventType::Warning, reason, message);
    }
}

/// Begins to follow the watches.
///
/// # Errors
/// When the range of pods or the addresses of node ports cannot be parsed.
#[expect(clippy::unused_async, reason = "agents are built alike")]
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let (network, node) = (&deps.network, &deps.node);
    let view = ServicesView {
        services: deps.informers.cache(),
        slices: deps.informers.cache(),
        node: deps.informers.cache_of(Scope::fields(format!("metadata.name={}", node.name))),
    };
    let config = ServicesConfig {
        // `knarr down` finds the table by the bridge's name.
        table: format!("{}{TABLE}", deps.links.bridge),
        pods: network.pod_cidr.parse()?,
        node: node.name.clone(),
        addresses: node.addresses.clone(),
        answered: vec![network.api_service_ip, network.dns_ip],
        kin: (cluster::BRIDGES.to_owned(), TABLE.to_owned()),
        node_ports: NodePorts::parse(&deps.links.node_ports)?,
        notices: Arc::new(Events(deps.recorder.clone())),
    };
    let services = Services::new(config, view);
    Ok(Built::new(|shutdown| services.run(shutdown)))
}
