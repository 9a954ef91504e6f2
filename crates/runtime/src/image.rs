//! Images: names, content, import, pull, and what CRI's ImageService says about them.
//!
//! Start with `store`: it keeps blobs (`content`), unpacked layers (`crate::snapshot`) and `records`
//! in step. `archive` and `pull` bring images in (`import_socket` for the command line), `service` and
//! `rootfs` hand them out. Never mounts anything.

mod archive;
pub mod content;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod holds;
pub mod import_socket;
mod in_flight;
pub mod manifest;
pub mod name;
mod pull;
mod records;
mod registry;
mod rootfs;
mod service;
mod store;

pub use content::ContentStore;
pub use error::{ContentError, ImageError, PullError};
pub use name::ImageName;
pub use records::{ImageRecord, Images};
pub use registry::{Credentials, RegistryOptions};
pub use service::{FROM_REGISTRY, ImageServer};
pub use store::{ImageStore, Options};
