//! Why an object is as it is, in plain sentences: the causal chain from what was asked for to what is, and the smallest
//! change that would help.
//!
//! Start with [`tell`]. Each kind has a file of two halves: `look` reads the objects that matter through [`Reader`],
//! with the rights of whoever asks; `account` makes sentences of them and is pure. Nothing is ever written.

mod account;
mod autoscaler;
mod claim;
mod deletion;
mod ingress;
mod job;
mod namespace;
mod node;
mod other;
mod pod;
mod reader;
mod refusals;
mod service;
mod subject;
mod unknown;
mod warnings;
mod workload;

#[cfg(test)]
mod samples;

pub use account::Account;
pub use reader::Reader;
pub use subject::{Subject, tell};
pub use unknown::UnknownSubject;
