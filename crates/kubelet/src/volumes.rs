//! A pod's volumes: made before its containers, kept up to date while it runs, taken down after.
//!
//! Start with [`manager::Manager`]. What a volume contains is decided in [`payload`] (pure); the disk
//! is touched by [`atomic_writer`], [`directories`], [`host_path`] and [`subpath`] alone. Everything
//! needed after a restart stands in the disk layout ([`layout`]), which is upstream's.

pub mod atomic_writer;
pub mod directories;
pub mod error;
pub mod host_path;
pub mod layout;
pub mod limits;
pub mod manager;
pub mod mount_table;
pub mod objects;
pub mod ownership;
pub mod payload;
pub mod references;
pub mod subpath;
pub mod teardown;
pub mod tokens;

pub use error::VolumeError;
pub use layout::PodDirs;
pub use manager::{Manager, MountedVolumes};
