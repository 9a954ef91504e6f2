//! JSON patch (RFC 6902), within limits.

use json_patch::{AddOperation, PatchErrorKind, PatchOperation};
use serde::Deserialize;
use serde_json::Value;

use crate::codec::{Limits, decode_json_value, type_word};
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
    let operations = match patch {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => {
            let found = type_word(&other);
            let why = format!("json: cannot unmarshal {found} into Go value of type jsonpatch.Patch");
            return Err(Error::bad_request(why));
        }
    };
    operate(document, &operations, limits).map_err(|fault| match fault {
        Fault::Untrue(error) | Fault::Wrong(error) => error,
    })
}

/// Why operations come to nothing.
#[derive(Debug)]
pub enum Fault {
    /// A `test` is not true of the document.
    Untrue(Error),
    Wrong(Error),
}

/// The same as [`json`], of operations that were decoded.
///
/// # Errors
/// As those of [`json`].
pub fn operate(document: &Value, operations: &[Value], limits: &Limits) -> Result<Value, Fault> {
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(Fault::Wrong(Error::new(Reason::RequestEntityTooLarge, message)));
    }
    let operations = operations.iter().map(operation).collect::<Result<Vec<_>, _>>().map_err(Fault::Wrong)?;
    let mut result = document.clone();
    let mut copied_bytes = 0;
    let mut nesting = Nesting { depth: limits.depth, values_left: limits.bytes };
    for (index, operation) in operations.into_iter().enumerate() {
        let operation = as_upstream(operation, &result);
        nesting.check(&operation, &result).map_err(Fault::Wrong)?;
        if let PatchOperation::Copy(copy) = &operation
            && let Some(source) = result.pointer(copy.from.as_str())
        {
            copied_bytes += source.to_string().len();
            if copied_bytes > limits.bytes {
                let limit = limits.bytes;
                return Err(Fault::Wrong(unprocessable(&format!(
                    "unable to copy: the accumulated size increase of copies exceeds the limit of {limit} bytes"
                ))));
            }
        }
        json_patch::patch_unsafe(&mut result, std::slice::from_ref(&operation)).map_err(|e| {
            let error = unprocessable(&format!("operation {index} at {:?}: {}", e.path.as_str(), e.kind));
            if matches!(e.kind, PatchErrorKind::TestFailed) {
                Fault::Untrue(error)
            } else {
                Fault::Wrong(error)
            }
        })?;
    }
    Ok(result)
}

/// Reads one operation. What is no object is no operation; what an object says is wrong only when it is applied, as
/// upstream's library has it.
fn operation(value: &Value) -> Result<PatchOperation, Error> {
    if !value.is_object() {
        let found = type_word(value);
        let why = format!("json: cannot unmarshal {found} into Go value of type jsonpatch.Operation");
        return Err(Error::bad_request(why));
    }
    PatchOperation::deserialize(value).map_err(|error| match value.get("op").and_then(Value::as_str) {
        Some("add" | "remove" | "replace" | "move" | "copy" | "test") => unprocessable(&error.to_string()),
        other => unprocessable(&format!("Unexpected kind: {}", other.unwrap_or("unknown"))),
    })
}

/// Upstream's library replaces a field of an object that is not there yet: it adds the field.
fn as_upstream(operation: PatchOperation, document: &Value) -> PatchOperation {
    let PatchOperation::Replace(replace) = &operation else { return operation };
    let path = replace.path.as_str();
    let parent = path.rsplit_once('/').and_then(|(parent, _)| document.pointer(parent));
    if parent.is_some_and(Value::is_object) && document.pointer(path).is_none() {
        let (path, value) = (replace.path.clone(), replace.value.clone());
        return PatchOperation::Add(AddOperation { path, value });
    }
    operation
}

/// Keeps the document within its depth at every operation: copies and moves of what was copied and moved
/// double it, and a value of thousands of levels can be neither cloned nor dropped on a thread's stack.
struct Nesting {
    depth: usize,
    /// How many values may still be looked into, so that moving something large often takes no time.
    values_left: usize,
}

impl Nesting {
    fn check(&mut self, operation: &PatchOperation, document: &Value) -> Result<(), Error> {
        let (to, value) = match operation {
            PatchOperation::Add(add) => (&add.path, Some(&add.value)),
            PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
            PatchOperation::Copy(copy) => (&copy.path, document.pointer(copy.from.as_str())),
            PatchOperation::Move(moved) => (&moved.path, document.pointer(moved.from.as_str())),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
        };
        // What is not there is the operation's own error.
        let Some(value) = value else { return Ok(()) };
        let room = self.depth.checked_sub(to.as_str().matches('/').count());
        if room.is_some_and(|room| self.fits(value, room)) {
            return Ok(());
        }
        Err(unprocessable("the patched object nests too deep, or too much of it is moved"))
    }

    fn fits(&mut self, value: &Value, room: usize) -> bool {
        let Some(left) = self.values_left.checked_sub(1) else { return false };
        self.values_left = left;
        match value {
            Value::Array(items) => room > 0 && items.iter().all(|v| self.fits(v, room - 1)),
            Value::Object(map) => room > 0 && map.values().all(|v| self.fits(v, room - 1)),
            _ => true,
        }
    }
}

/// Upstream's error for a patch that does not apply.
fn unprocessable(why: &str) -> Error {
    // Without causes: kubectl would print them instead of the message.
    let message = format!("the server rejected our request due to an error in our request: {why}");
    Error { details: Some(Box::default()), ..Error::new(Reason::Invalid, message) }
}
