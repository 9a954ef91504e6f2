//! Leaving managed fields out of watches: no component reads them, and they are up to two fifths of an object.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header, and its value, of a watch that wants objects without managed fields. A server that does not know the
/// header sends them.
pub const UNWANTED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("knarr-managed-fields"), HeaderValue::from_static("unwanted"));

/// Whether a request asks for objects without managed fields.
pub fn are_unwanted(headers: &HeaderMap) -> bool {
    headers.get(&UNWANTED.0) == Some(&UNWANTED.1)
}
