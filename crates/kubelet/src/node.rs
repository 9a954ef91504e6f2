//! The Node object of this machine: registered once, kept true, its lease renewed.
//!
//! Start at [`NodeAgent`]. What the object says is decided in [`object`] and [`conditions`] (pure),
//! from what [`machine`] reads.

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
