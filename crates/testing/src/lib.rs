//! What end-to-end tests stand on: real clusters started by the built `knarr`, stock kubectl, and images.
//!
//! Start with [`Cluster`], which starts and always removes a cluster ([`Agent`] adds a node to it), and [`Shell`], which
//! runs what a user would type. Nothing here reaches into the product's crates: tests see what users see.

mod aged;
mod agent;
mod cluster;
mod fixtures;
mod ground;
mod keeper;
mod machine;
mod registry;
mod shell;
mod stream;
mod transcript;

pub use aged::age;
pub use agent::Agent;
pub use cluster::Cluster;
pub use fixtures::Fixtures;
pub use machine::Machine;
pub use registry::Registry;
pub use shell::{Shell, Spoken};
pub use stream::Stream;
pub use transcript::Transcript;
