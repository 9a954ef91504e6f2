//! Snapshots: image layers as overlayfs lower directories, and a writable upper one per container.
//!
//! Never mounts: it prepares directories and says how they stack.

pub mod durable;
