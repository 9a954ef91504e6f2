//! Building images from Dockerfiles on the node.
//!
//! Start with `builder`: it carries out stages and steps. Files come from the context or another stage as a `tree`,
//! `copy` says which go where, `run` has commands run in containers of the node's own and `changes` reads what these
//! wrote; both write a layer through `sink`. `request` is what a client sends and hears. Registries, layers and records
//! are the image store's; never makes a container otherwise than the CRI does.

mod builder;
mod changes;
mod config;
mod copy;
mod environment;
mod fetch;
mod files;
mod mounts;
mod outcome;
pub mod request;
mod run;
mod session;
mod sink;
mod steps;
mod tree;

pub use session::Builds;
