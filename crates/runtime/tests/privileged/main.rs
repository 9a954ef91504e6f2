//! The runtime with real namespaces, cgroups and mounts, spoken to over its socket. Needs root.

mod faults;
mod life;
mod limits;
mod node;
mod orphans;
mod whole;
