//! DaemonSets: one pod on every node that the template may run on.
//!
//! Start with [`controller`], the loop, and [`plan`], the decision: [`placement`] says which nodes should have a pod,
//! [`manage`] makes and deletes pods so that they do, [`rolling`] replaces pods of old, [`backoff`] keeps failing pods
//! from being replaced without pause, and [`status`] reports. Revisions of the template are `crate::history`'s.

mod backoff;
pub mod controller;
mod daemons;
mod manage;
mod placement;
mod plan;
mod rolling;
mod status;

pub use controller::DaemonSetController;

#[cfg(test)]
mod tests;
