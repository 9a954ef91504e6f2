//! Shared caches that follow the API, work queues, and the loop that runs controllers.
//!
//! A controller is a pure function from what is observed to a [`Plan`]; everything that waits, retries
//! or talks to the API is here. Start with [`Controller`] and [`Manager`]; [`Cache`] and [`Informers`]
//! serve components that are no controllers (the scheduler) as well.
//!
//! Never here: a kind's name, but in the list of `kind`; a poll.

pub mod cache;
pub mod complaints;
pub mod controller;
pub mod executor;
pub mod informers;
pub mod key;
pub mod kind;
pub mod metrics;
pub mod plan;
pub mod queue;
mod reflector;
mod scope;

pub use cache::{Cache, Cached, Delta, Index, Item, Labels, Meta, Objects, Owner, View};
pub use complaints::Complaints;
pub use controller::{
    ClientOf, Context, Controller, Declaration, FIELD_MANAGER, Manager, Round, Sources, Tally, controller_of,
};
pub use executor::{FailedWrite, Failure};
pub use informers::Informers;
pub use key::Key;
pub use kind::Kind;
pub use metrics::Metrics;
pub use plan::{Action, DeletePolicy, EventWords, Plan, Target, Words};
pub use queue::Queue;
pub use scope::Scope;
