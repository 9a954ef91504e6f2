//! The node's HTTPS API, which the API server calls for logs, exec, attach and port-forward.
//!
//! Start with [`Server::bind`] and [`routes`]. Only the API server's own client (or an administrator)
//! is let in, by certificate; the node's API never asks who that client acts for: the API server has
//! authorized the request before.

pub mod access;
mod answer;
pub mod connection;
mod container_logs;
mod metrics;
mod query;
mod routes;
mod stats;
mod streaming;
#[cfg(test)]
mod tests;
pub mod tls;

pub use access::Access;
pub use connection::Server;
pub use tls::{Tls, TlsError};

use std::sync::Arc;

use base::{Clock, Supervisor};

use crate::seams::PodDirectory;

/// What the server answers from.
pub struct ServerDeps {
    pub node_name: String,
    pub pods: Arc<dyn PodDirectory>,
    pub runtime: cri::RuntimeServiceClient,
    pub clock: Arc<dyn Clock>,
    /// Owns the streams of exec and the like, which outlive their HTTP connection's task.
    pub supervisor: Supervisor,
    /// Who is let in.
    pub access: Access,
}
