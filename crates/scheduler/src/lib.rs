//! The `scheduler` crate.
