//! JSON patch (RFC 6902), within limits.

use json_patch::PatchOperation;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::codec::{Limits, decode_json_value};
use crate::{Error, Reason};

/// The most operations a JSON patch may have, as upstream.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Applies a JSON patch (RFC 6902) to a copy of `document`. What its copies add up to, and how deep
/// the result nests, stays within `limits` too.
///
/// # Errors
/// 400 when the patch is malformed, 413 when it is too large or has too many operations, 422 when an
/// operation does not apply.
pub fn json(document: &Value, patch: &[u8], limits: &Limits) -> Result<Value, Error> {
    let (patch, _) = decode_json_value(patch, limits)?;
    let Value::Array(operations) = patch else {
        return Err(Error::bad_request("a JSON patch is a list of operations"));
    };
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(Error::new(Reason::RequestEntityTooLarge, message));
    }
    let operations = operations.iter().map(PatchOperation::deserialize).collect::<Result<Vec<_>, _>>();
    let operations = operations.map_err(|e| Error::bad_request(format!("malformed JSON patch: {e}")))?;
    let mut result = document.clone();
    let mut copied_bytes = 0;
    for operation in &operations {
        if let PatchOperation::Copy(copy) = operation
            && let Some(source) = result.pointer(copy.from.as_str())
        {
            copied_bytes += source.to_string().len();
            if copied_bytes > limits.bytes {
                let limit = limits.bytes;
                return Err(unprocessable(&format!(
                    "unable to copy: the accumulated size increase of copies exceeds the limit of {limit} bytes"
                )));
            }
        }
        json_patch::patch_unsafe(&mut result, std::slice::from_ref(operation))
            .map_err(|e| unprocessable(&e.to_string()))?;
    }
    if deeper_than(&result, limits.depth) {
        return Err(unprocessable("the patched object nests too deep"));
    }
    Ok(result)
}

/// What upstream answers when a patch does not apply.
fn unprocessable(why: &str) -> Error {
    Error::new(Reason::Invalid, "the server rejected our request due to an error in our request")
        .with_detail("causes", json!([{"reason": "UnexpectedServerResponse", "message": why}]))
}

fn deeper_than(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth == 0 || items.iter().any(|v| deeper_than(v, depth - 1)),
        Value::Object(map) => depth == 0 || map.values().any(|v| deeper_than(v, depth - 1)),
        _ => false,
    }
}
