//! Codecs: bytes from a client into an [`Object`](crate::Object), within limits.
//!
//! Start with [`decode_json`] and [`decode_yaml`]; then [`structure::check`] holds the object against
//! its schema, and [`omit_empty`] leaves out what is not written. Syntax is the business of the first,
//! types and unknown fields of the second. Nothing here validates meaning.

pub mod protobuf;
pub mod structure;

mod lines;
mod omit;
mod places;
mod strict;
mod syntax;
mod value;
mod zero;

pub use lines::repeated_keys;
pub use omit::{omit_empty, write_zeros};
pub use strict::{FieldValidation, Strictness};
pub use value::{Decoded, Limits, decode_json, decode_json_value, decode_yaml, decode_yaml_value, type_word};

#[cfg(test)]
mod tests;
