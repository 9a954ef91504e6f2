//! Deletes what lost its owners, and waits or orphans where a deletion asks for that.
//!
//! [`monitor`] follows the metadata of every kind there is and keeps the [`graph`] of owners and dependents,
//! which tells what to look at; [`look`] then reads the object and its owners live, because caches may lag
//! behind and a deletion cannot be taken back; [`decide`] is the pure decision, [`run`] the loop.
//! Nothing is looked at while nothing changes.

mod decide;
mod graph;
mod look;
mod monitor;
pub mod run;

pub use run::start;

#[cfg(test)]
mod tests;
