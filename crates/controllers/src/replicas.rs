//! Keeps as many pods of a template as are asked for: one engine behind ReplicaSets and
//! ReplicationControllers.
//!
//! Start with [`controller`], the loop; [`workload`] is what the engine knows of either kind, [`plan`] the
//! decision, of which [`claim`] (whose pods), [`rank`] (which go first) and [`status`] are the parts.

mod claim;
pub mod controller;
mod plan;
pub(crate) mod pod;
mod rank;
pub(crate) mod status;
mod workload;

pub(crate) use workload::selector_of;

pub use controller::{ReplicaController, ReplicaSetController, ReplicationControllerController};

#[cfg(test)]
mod tests;
