//! The words of OCI images that more than one crate reads: an image's name.
//!
//! Start at [`Reference`]. The runtime picks images by it, the kubelet checks what pods ask for and finds pull
//! secrets, the command line shows it. Pure: never looks anything up, knows no registry and no content.

mod error;
mod grammar;
mod reference;

pub use error::ReferenceError;
pub use reference::Reference;
