//! The Node object of this machine: registered once, kept true, its lease renewed.
//!
//! Start at [`NodeAgent`]. The object's content is decided in [`object`] and [`conditions`] (pure),
//! from the facts that [`machine`] reads.

pub mod agent;
pub mod conditions;
pub mod config;
pub mod lease;
pub mod machine;
pub mod object;
pub mod roles;

pub use agent::NodeAgent;
pub use config::NodeConfig;
pub use machine::Machine;
