//! Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7396), strategic merge patch.
//!
//! Start with [`json()`], [`merge()`] and [`strategic()`]. All work on dynamic values; only the
//! strategic one asks the schema how lists merge. Nothing here validates the result.

mod json;
mod order;
mod strategic;

pub use json::{Fault, MAX_JSON_PATCH_OPERATIONS, json, operate};
pub use strategic::strategic;

use serde_json::Value;

/// Applies a JSON merge patch (RFC 7396): objects merge, nulls delete, all else replaces.
pub fn merge(document: &mut Value, patch: &Value) {
    json_patch::merge(document, patch);
}

#[cfg(test)]
mod tests;
