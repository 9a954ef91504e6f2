//! Keeps the wanted number of pods of a template: one engine behind ReplicaSets and
//! ReplicationControllers.
//!
//! Start with [`controller`], the loop; [`workload`] is the engine's common form of both kinds, [`plan`]
//! the decision, of which [`rank`] (which go first) and [`status`] are the parts.

pub mod controller;
mod plan;
pub(crate) mod pod;
mod rank;
mod report;
pub(crate) mod status;
mod workload;

pub(crate) use workload::selector_of;

pub use controller::{ReplicaController, ReplicaSetController, ReplicationControllerController};

#[cfg(test)]
mod tests;
