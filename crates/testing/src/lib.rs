//! The `testing` crate.
