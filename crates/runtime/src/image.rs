//! Images: names, content, import, pull, and what CRI's ImageService says about them.
//!
//! Start with `store` once you know `name` (how images are called) and `content` (where bytes
//! live). Never mounts anything: `crate::snapshot` turns layers into root file systems.

pub mod content;
pub mod digest;
pub mod name;

pub use content::ContentStore;
pub use digest::{Digest, DigestError};
pub use name::{ImageName, NameError};
