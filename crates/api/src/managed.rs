//! Field management: who set which field, kept in `metadata.managedFields`, and server-side apply.
//!
//! Start with [`update`] (every ordinary write) and [`apply()`] (server-side apply). The semantics are
//! those of upstream's structured-merge-diff, on the dynamic object with the schema's list types. Sets
//! of fields are kept in the form they are stored in (`FieldsV1`), so that a write touches only what it
//! changes. Nothing here converts between versions: entries of other versions are taken to name the
//! same fields.

mod apply;
mod compare;
mod element;
mod entry;
mod last_applied;
mod merge;
mod one_field;
mod overlay;
mod set;
pub mod typed;
mod update;

pub use apply::apply;
pub use entry::differ_in_times_only;
pub use one_field::OneField;
pub use overlay::overlay;
pub use set::FieldSet;
pub use update::{keep_reset, update};

use jiff::Timestamp;

/// The writer of a change, its API version and subresource, and the time.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager: the request's `fieldManager`, or the user agent up to its first slash.
    pub manager: &'a str,
    /// The version the writer speaks (`v1`, `apps/v1`).
    pub api_version: &'a str,
    /// The subresource written to; empty for the object itself.
    pub subresource: &'a str,
    pub now: Timestamp,
}

/// Fields of `metadata` that nobody owns.
const UNOWNED_METADATA: [&str; 8] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

#[cfg(test)]
mod tests;
