//! Selectors: which objects a list, watch, service or workload means.
//!
//! Start with [`LabelSelector`] (by labels) and [`FieldSelector`] (by few named fields). Parsing and
//! its messages are as upstream's (`k8s.io/apimachinery/pkg/labels`, `pkg/fields`); the matching
//! borrows and never allocates.

mod field;
mod label;
mod parse;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelSelector, Operator, Requirement};

/// The longest selector text taken, in bytes; longer ones are a bad request.
pub const MAX_SELECTOR_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
