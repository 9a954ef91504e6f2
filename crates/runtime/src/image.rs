//! Images: names, content, import, pull, and what CRI's ImageService says about them.
//!
//! Start with `store`: it keeps blobs (`content`), unpacked layers (`crate::snapshot`) and `records`
//! in step. `archive` and `pull` bring images in, `save` writes an archive, `service` and
//! `rootfs` hand them out; `compose` makes new ones for builds. Never mounts anything.

mod archive;
mod build_cache;
pub(crate) mod caches;
pub mod compose;
pub mod content;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod holds;
mod in_flight;
pub mod manifest;
pub mod name;
mod pull;
mod records;
mod registry;
mod rootfs;
mod save;
mod service;
mod store;

pub use content::ContentStore;
pub use error::{ContentError, ImageError, PullError};
pub use name::ImageName;
pub use records::{ImageRecord, Images};
pub use registry::{Credentials, RegistryOptions};
pub use save::{Details, Dropped};
pub use service::{FROM_REGISTRY, ImageServer};
pub(crate) use store::StageImage;
pub use store::{ImageStore, Options};
