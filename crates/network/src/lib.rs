//! The network agents of a node: the cluster's DNS, the Service proxy, network policies, the overlay that leads to other
//! machines' pods, and the relay by which pods reach an API server elsewhere.
//!
//! Start with [`dns`], [`services`], [`policies`], [`overlay`] and [`relay`]. How pods are connected is the CNI plugin's part (the crate `cni`).
//!
//! Never here: writing to the API; changes to a host's own interfaces, tables or sysctls.

pub mod dns;
mod listening;
pub mod overlay;
pub mod policies;
mod protocol;
pub mod relay;
pub mod services;
mod tables;
