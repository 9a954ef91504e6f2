//! The Kubernetes API's own vocabulary: dynamic objects, group/version/kind, metadata, selectors,
//! quantities, `Status` errors, patches and codecs.
//!
//! Start with [`Object`] (the object that the machinery works on) and [`Error`] (the failure that a
//! client receives). Nothing here does IO, and nothing here knows a kind by name: facts about kinds
//! live in the `resources` crate and arrive as a [`schema::Types`] table.

pub mod codec;
pub mod duration;
pub mod error;
pub mod field;
pub mod formats;
pub mod gvk;
pub mod layout;
pub mod managed;
pub mod names;
pub mod object;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod selector;

pub use error::{Error, Given, Reason};
pub use gvk::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use object::Object;

/// The Kubernetes minor version whose API is served. Raising it is a dependency bump.
pub const TRACKED_MINOR: &str = "36";
/// The version reported by `/version` and by nodes.
pub const TRACKED_VERSION: &str = "v1.36.0";
