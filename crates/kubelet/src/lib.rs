//! The node agent: runs the pods bound to this node through the Container Runtime Interface.
//!
//! Start at [`planner`], the pure heart, and [`seams`] for the boundaries inside. Pods come from a
//! source, the runtime's state from CRI events; the planner compares the two and a worker per pod
//! carries out what it says. This crate never depends on a particular runtime and never reads the store.

mod amount;
pub mod cri_view;
pub mod environment;
pub mod events;
pub mod hosts;
pub mod node_facts;
pub mod planner;
pub mod resolv;
pub mod seams;
pub mod volumes;
