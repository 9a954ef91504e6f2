//! A CRI v1 server: images, snapshots, sandboxes, containers, logs and exec.
//!
//! Start at [`Config`] and [`rootfs`]. The server (multi-threaded, tokio) never makes a container itself: each pod has
//! a shim (the crate `shim`), a single-threaded process that forks, owns stdio and exit codes and outlives the server.
//! The server's state of a pod is on disk before it is acted on, so that a killed server finds everything again.

mod build;
mod cdi;
mod cni;
pub mod config;
pub mod digest;
mod engine;
pub mod image;
mod netns;
mod node;
mod readiness;
mod records;
pub mod rootfs;
mod server;
mod service;
mod shim_link;
pub mod snapshot;
pub mod socket;
mod spec;

pub use build::request as build_request;
pub use config::{Config, NetworkConfig};
pub use engine::{Deps, EngineError};
pub use node::{Node, NodeConfig, NodeError};
pub use server::Server;
pub use service::StreamUrls;
