//! Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7396), strategic merge patch.
//!
//! Start with [`json`], [`merge()`] and [`strategic()`]. All work on dynamic values; only the
//! strategic one asks the schema how lists merge. Nothing here validates the result.

use serde_json::Value;

use crate::codec::Limits;
use crate::schema::{StructId, Types};
use crate::{Error, Object};

/// The most operations a JSON patch may have, as upstream.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Applies a JSON patch (RFC 6902) to a copy of `document`.
///
/// # Errors
/// 400 when the patch is malformed, 413 when it has too many operations, 422 when an operation does
/// not apply.
pub fn json(document: &Value, patch: &[u8], limits: &Limits) -> Result<Value, Error> {
    let _ = (document, patch, limits);
    Err(Error::not_implemented("JSON patch"))
}

/// Applies a JSON merge patch (RFC 7396).
pub fn merge(document: &mut Value, patch: &Value) {
    json_patch::merge(document, patch);
}

/// Applies a strategic merge patch to a copy of `original`, of structure `id`.
///
/// # Errors
/// 400 when a directive of the patch is malformed or a list's merge key is missing.
pub fn strategic(types: &Types, id: StructId, original: &Object, patch: &Object) -> Result<Object, Error> {
    let _ = (types, id, original, patch);
    Err(Error::not_implemented("strategic merge patch"))
}
