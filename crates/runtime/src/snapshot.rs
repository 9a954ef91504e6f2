//! Snapshots: image layers as overlayfs lower directories, and a writable upper one per container.
//!
//! Start with `store`. `layer` turns one untrusted archive into a directory, reading it through
//! `tar_stream` and writing through `beneath`. Never mounts: it prepares directories and returns
//! how they stack.

mod beneath;
mod compression;
pub mod durable;
pub mod layer;
pub mod store;
pub mod tar_stream;
mod usage;

pub(crate) use beneath::{clean, fd_path};
pub use compression::decompress;
pub(crate) use layer::OPAQUE_XATTR;
pub use layer::{LayerError, LayerLimits};
pub use store::{Discarded, LayerRecord, SnapshotError, SnapshotStore, chain_id};
