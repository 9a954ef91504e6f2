//! The CNI plugin of a node: a bridge with a veth pair to each pod, addresses from the node's pod range that are bound to
//! the pod's port, ports of the node that lead to pods, and masquerading of what leaves the cluster. The node's agent of network policies is told of a pod before the pod is attached ([`announce`]). Runtimes exec it; the node prepares the bridge before.
//!
//! Start with [`main`] (how a runtime calls) and [`bridge`] (what is done); [`members`] is the network of nodes that share a
//! machine. Every interface, table and file carries
//! its cluster's own name, so that several clusters share a machine, and [`remove_cluster`] finds all of it again.
//!
//! Never here: the API, nor changes to a host's own interfaces, tables or sysctls.

pub mod announce;
mod binding;
pub mod bridge;
pub mod config;
mod error;
mod host_ports;
mod ipam;
mod link;
mod masquerade;
pub mod members;
mod plugin;
mod port_records;
mod restoring;

pub use bridge::{Attachment, attach, attach_pod, detach, prepare_node, remove_cluster};
pub use config::BridgeConfig;
pub use error::{Error, PortError};
pub use host_ports::PortMapping;
pub use plugin::{Plugin, main};
pub use restoring::{Damage, restore};
