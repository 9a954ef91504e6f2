//! The scheduler: finds a node for each pod that has none, and binds it through the API.
//!
//! Start with [`cycle::decide`], the pure heart: one pod and the node table in, a node or the reasons why
//! not out. [`nodes`] is that table, [`filters`] and [`score`] the rules, [`queue`] decides who is next, and
//! [`run`] is the only part that waits or talks to the API.
//!
//! Never here: a write other than bindings, pod conditions and events; a poll.

mod condition;
pub mod cycle;
pub mod filters;
pub mod hints;
pub mod neighbours;
pub mod nodes;
pub mod pod;
pub mod queue;
pub mod relations;
pub mod run;
pub mod score;
pub mod spread;

pub use run::{Config, Scheduler};
