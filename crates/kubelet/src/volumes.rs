//! A pod's volumes: made before its containers, kept up to date while it runs, taken down after.
//!
//! Start with [`manager::Manager`]. Each kind of source is a plugin ([`plugins`]); the objects that a volume is
//! filled from are fetched before ([`sources`]), what a claim stands for is found in [`persistent`], and [`reclaim`] frees
//! the space of volumes that were made here. Volumes of drivers are in [`csi`]. The disk is touched through [`atomic_writer`], [`directories`],
//! [`subpath`] and by plugins alone. Everything needed after a restart is in the disk layout ([`PodDirs`]), which
//! is upstream's.

pub mod atomic_writer;
mod complaints;
pub mod csi;
pub mod directories;
pub mod error;
mod exclusive;
mod figures;
pub mod limits;
pub mod manager;
pub mod mount_table;
pub mod objects;
pub mod ownership;
pub mod payload;
pub mod persistent;
pub mod plugins;
pub mod reclaim;
mod rounds;
pub mod sources;
pub mod subpath;
pub mod teardown;
pub mod tokens;

pub use crate::pod_dirs::PodDirs;
pub use error::VolumeError;
pub use manager::{Manager, MountedVolumes};
