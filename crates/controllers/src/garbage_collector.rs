//! Deletes objects whose owners are gone, and waits for or orphans dependents if a deletion asks for that.
//!
//! [`monitor`] follows the metadata of every served kind and keeps the [`graph`] of owners and dependents,
//! which decides which objects to look at; [`look`] then reads the object and its owners live, because
//! caches may lag behind and a deletion cannot be undone; [`decide`] is the pure decision, [`run`] the
//! loop. Nothing is looked at while nothing changes.

mod decide;
mod graph;
mod look;
mod monitor;
pub mod run;

pub use run::start;

#[cfg(test)]
mod tests;
