//! The administrator's access to a cluster on this machine.

use std::fs;

use anyhow::{Context, Result};
use client::Endpoint;

use crate::cluster::Cluster;
use crate::layout::Layout;
use crate::pki::Pair;

/// How the administrator reaches the cluster from this machine.
///
/// # Errors
/// When there is no such cluster or its keys cannot be read.
pub fn of(layout: &Layout) -> Result<Endpoint> {
    let cluster = Cluster::load(layout)?;
    let read = |name: &str| {
        let path = layout.pki_dir().join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let admin = Pair { certificate_pem: read("admin.crt")?, key_pem: read("admin.key")? };
    Ok(endpoint(cluster.api_port(), read("ca.crt")?, admin))
}

/// The API server on this machine, with somebody's keys.
pub fn endpoint(port: u16, ca_pem: String, pair: Pair) -> Endpoint {
    Endpoint {
        server: format!("https://127.0.0.1:{port}"),
        ca_pem,
        certificate_pem: pair.certificate_pem,
        key_pem: pair.key_pem,
    }
}
