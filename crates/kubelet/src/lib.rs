//! The node agent: runs the pods bound to this node through the Container Runtime Interface.
//!
//! Start at [`seams`] for the boundaries inside. Pods come from a source, the runtime's state from
//! CRI events; a pure planner compares the two and a worker per pod carries out what it says. This
//! crate never depends on a particular runtime and never reads the store.

pub mod events;
pub mod seams;
