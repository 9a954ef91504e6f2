//! The node's HTTPS API, which the API server calls for logs, exec, attach and port-forward.
//!
//! Start with [`Server::bind`] and [`routes`]. The API server's own client is let in by its certificate; the node's
//! API does not check on whose behalf that client acts: the API server has authorized the request already. Everybody
//! else, known by a certificate or a token, may do what the API server says ([`reviews`]).

pub mod access;
mod answer;
mod configz;
pub mod connection;
mod container_logs;
mod metrics;
mod node_logs;
mod query;
pub mod reviews;
mod routes;
mod running_pods;
mod stats;
mod streaming;
#[cfg(test)]
mod tests;
mod usage;

pub use access::Trusted;
pub use configz::Configuration;
pub use connection::Server;
pub use node_logs::SystemLogs;
pub use reviews::{ApiReviews, Reviews};
pub use stats::Rates;

use std::path::PathBuf;
use std::sync::Arc;

use base::{Clock, Metrics, Supervisor};
use serving::{Pem, Policy, ServerTls, TlsError, Unverified};

use crate::node_facts::NodeFacts;
use crate::pod_cgroup::PodCgroups;
use crate::seams::{PodDirectory, Volumes};

/// The server's dependencies.
pub struct ServerDeps {
    pub node_name: String,
    pub pods: Arc<dyn PodDirectory>,
    pub volumes: Arc<dyn Volumes>,
    /// Shows what `volumes` says, with `metrics`.
    pub claims: crate::metrics::volumes::Volumes,
    pub runtime: cri::RuntimeServiceClient,
    /// Counts the calls to the runtime.
    pub operations: crate::metrics::Metrics,
    pub clock: Arc<dyn Clock>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/metrics/probes` shows.
    pub probe_metrics: Metrics,
    /// How much processor time is used per second.
    pub rates: Rates,
    /// The cgroups of node and pods.
    pub cgroups: PodCgroups,
    pub facts: Arc<NodeFacts>,
    /// The node agent's folder, whose file system is the node's.
    pub root: PathBuf,
    /// What `/configz` shows.
    pub configuration: Configuration,
    /// What `/logs/` shows.
    pub system_logs: SystemLogs,
    /// Owns the streams of exec and the like, which outlive their HTTP connection's task.
    pub supervisor: Supervisor,
    /// Who is let in as it is.
    pub trusted: Trusted,
    /// Says who everybody else is and may do.
    pub reviews: Arc<dyn Reviews>,
}

/// TLS as the node's API speaks it: a client shows a certificate that verifies, or none and hears so.
///
/// # Errors
/// When a part cannot be parsed or the key does not fit the certificate.
pub fn tls(pem: Pem<'_>) -> Result<ServerTls, TlsError> {
    // Upgrades, which most requests here are, need HTTP/1.1.
    ServerTls::new(Policy { unverified: Unverified::Refused, protocols: &["http/1.1"] }, pem)
}
