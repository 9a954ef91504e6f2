//! How a machine becomes a node of a cluster whose control plane is elsewhere.
//!
//! `cluster_info` is what the cluster tells everybody.

pub mod cluster_info;
