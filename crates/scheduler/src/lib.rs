//! The scheduler: finds a node for each pod that has none, and binds it through the API.
//!
//! Start with [`cycle::decide`], the pure decision: from one pod and the node table to a node or the reasons why none
//! suits. [`nodes`] is that table; [`crowds`] keeps in the table how many pods of each group are at each place.
//! [`filters`], [`neighbours`] and [`score`] are the rules, [`queue`] decides which pod is next, and [`waitlist`]
//! finds the pods that fit nowhere by the changes that could help them. [`preemption`] finds the pods that have to go
//! so that a more important one fits. [`storage`] knows where pods can have their volumes, [`devices`] which devices
//! their claims would get there, [`state`] puts these
//! together, and [`run`] is the only part that waits or talks to the API. A pod is kept as a [`pod::PodInfo`]: without
//! its object, and with one shape shared by all pods of a template.
//!
//! Never here: a write other than bindings, of pods and of the volumes and devices they wait for, evictions for more important
//! pods, pod conditions and events; a poll.

mod binding;
pub mod budgets;
pub mod causes;
mod condition;
pub mod configuration;
pub mod crowds;
pub mod cycle;
pub mod devices;
mod figure;
pub mod filters;
mod glance;
pub mod hints;
mod memory;
mod merits;
mod metrics;
pub mod neighbours;
pub mod node;
pub mod nodes;
mod nominations;
mod outline;
pub mod pod;
pub mod pool;
pub mod preemption;
pub mod profile;
pub mod queue;
mod refusal;
pub mod relations;
pub mod run;
#[cfg(test)]
mod samples;
pub mod score;
mod siblings;
pub mod state;
pub mod storage;
mod topology;
pub mod verdict;
pub mod waitlist;
pub mod why;

pub use configuration::Configuration;
pub use metrics::Metrics;
pub use run::Scheduler;
