//! The `runtime` crate.
