//! Watches over nodes: one that stops renewing its lease becomes Unknown, its pods NotReady, and taints tell
//! the scheduler and the taint eviction what to do.
//!
//! Start with [`controller`]; [`heartbeat`] remembers when a node was last heard of, [`plan`] decides, with
//! [`conditions`], [`taints`] and [`pods`] as its parts.

mod conditions;
pub mod controller;
mod heartbeat;
mod plan;
mod pods;
mod taints;

pub use controller::NodeLifecycleController;

#[cfg(test)]
mod tests;
