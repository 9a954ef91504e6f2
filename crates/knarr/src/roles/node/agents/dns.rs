//! Cluster DNS, on the address of its Service.

use anyhow::Result;
use ipnet::IpNet;
use network::dns::{Dns, DnsConfig, View};

use super::AgentDeps;
use crate::roles::built::Built;

/// Opens the address.
///
/// # Errors
/// When the node does not have it, or it is taken.
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let view = View { services: deps.informers.cache(), slices: deps.informers.cache() };
    let cluster = &deps.network;
    let ranges = vec![cluster.pod_cidr.parse()?, cluster.service_cidr.parse()?];
    let mut clients: Vec<IpNet> = ranges.clone();
    // The machine itself asks from the address it is asked on.
    clients.push("127.0.0.0/8".parse()?);
    let config = DnsConfig {
        listen: (cluster.dns_ip, network::dns::PORT).into(),
        domain: cluster.domain.clone(),
        ranges,
        clients,
        resolv_conf: "/etc/resolv.conf".into(),
    };
    let dns = Dns::bind(config, view).await?;
    Ok(Built::new(|shutdown| dns.run(shutdown)))
}
