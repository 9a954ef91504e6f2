//! Watches over nodes: the conditions of a node that stops renewing its lease become Unknown, its pods
//! become NotReady, and it is tainted, on which the scheduler and the taint eviction act.
//!
//! Start with [`controller`]; [`heartbeat`] records when a node last gave a sign of life, [`plan`] decides,
//! with [`conditions`], [`taints`] and [`pods`] as its parts.

mod conditions;
pub mod controller;
mod heartbeat;
mod plan;
mod pods;
mod taints;

pub use controller::NodeLifecycleController;

#[cfg(test)]
mod tests;
