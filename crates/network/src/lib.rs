//! The network agents of a node: the cluster's DNS, the Service proxy, network policies, the overlay that leads to other
//! machines' pods, who announces load balancers' addresses, and the relay by which pods reach an API server elsewhere.
//!
//! Start with [`dns`], [`services`], [`policies`], [`overlay`], [`announce`], [`pod_tables`], [`conntrack`] and [`relay`]. How pods are connected is the
//! CNI plugin's part (the crate `cni`).
//!
//! Never here: writing to the API. Of the host, agents change links, routes and tables of their own names and numbers
//! alone; its sysctls are left as they are.

pub mod announce;
pub mod conntrack;
pub mod dns;
mod listening;
pub mod overlay;
pub mod pod_tables;
pub mod policies;
mod protocol;
pub mod relay;
pub mod services;
mod tables;
