//! What the roles of a server are built from.

use std::net::IpAddr;
use std::sync::Arc;

use base::{Clock, Supervisor};
use etcd::Etcd;

use crate::cluster::Cluster;
use crate::layout::Layout;
use crate::pki::Pki;
use crate::settings::Settings;

/// Everything the roles are built from.
pub struct Parts {
    pub layout: Layout,
    pub settings: Settings,
    pub cluster: Cluster,
    pub pki: Pki,
    /// The store, where it is not the file of this machine.
    pub etcd: Option<Etcd>,
    /// Addresses of this machine, best first.
    pub addresses: Vec<IpAddr>,
    pub clock: Arc<dyn Clock>,
    pub supervisor: Supervisor,
}
