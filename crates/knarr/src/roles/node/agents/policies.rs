//! Network policies.

use anyhow::Result;
use network::policies::{Answered, Policies, PoliciesConfig, PoliciesView};
use tokio::net::UnixListener;

use super::{AgentDeps, DNS_LABELS};
use crate::roles::built::Built;

/// Begins to follow the watches, and to hear CNI plugins.
///
/// # Errors
/// When the socket of the plugins cannot be used.
#[expect(clippy::unused_async, reason = "agents are built alike")]
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let view = PoliciesView {
        policies: deps.informers.cache(),
        namespaces: deps.informers.cache(),
        pods: deps.informers.cache(),
    };
    let port = |name: &str, protocol: &str| (name.to_owned(), protocol.to_owned(), network::dns::PORT);
    let dns = Answered {
        address: deps.network.dns_ip,
        namespace: "kube-system".to_owned(),
        labels: DNS_LABELS.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ports: vec![port("dns", "UDP"), port("dns-tcp", "TCP")],
    };
    let config = PoliciesConfig {
        // `knarr down` finds the table by the bridge's name.
        table: format!("{}-policies", deps.links.bridge),
        node: deps.node.name.clone(),
        answered: vec![dns],
        socket: UnixListener::from_std(deps.policy_calls.try_clone()?)?,
    };
    let policies = Policies::new(config, view);
    Ok(Built::new(|shutdown| policies.run(shutdown)))
}
