//! The scheduler: finds a node for each pod that has none, and binds it through the API.
//!
//! Start with [`cycle::decide`], the pure heart: one pod and the node table in, a node or the reasons why
//! not out. [`nodes`] is that table; [`crowds`] keeps in it how many pods of which sort are where. [`filters`],
//! [`neighbours`] and [`score`] are the rules, [`queue`] decides who is next, and [`waitlist`] finds the pods that fit
//! nowhere by what could help them. [`state`] puts these together, and [`run`] is the only part that waits or talks to
//! the API. What is kept of a pod is [`pod::PodInfo`]: no object, and one shape for all pods of a template.
//!
//! Never here: a write other than bindings, pod conditions and events; a poll.

pub mod causes;
mod condition;
pub mod crowds;
pub mod cycle;
mod figure;
pub mod filters;
mod glance;
pub mod hints;
mod memory;
mod metrics;
pub mod neighbours;
pub mod node;
pub mod nodes;
pub mod pod;
pub mod pool;
pub mod queue;
pub mod relations;
pub mod run;
#[cfg(test)]
mod samples;
pub mod score;
pub mod state;
mod topology;
pub mod verdict;
pub mod waitlist;

pub use metrics::Metrics;
pub use run::{Config, Scheduler};
