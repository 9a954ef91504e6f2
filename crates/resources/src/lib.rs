//! **The kind table**: for each built-in kind its names, scope, versions, subresources, defaults,
//! validation, strategy, printer columns, selectable fields and type facts. Pure, no IO.
//!
//! Start with [`Resource`] (a row) and [`builtin`] (the table). A CRD makes the same row at run time.

pub mod row;
pub mod strategy;

pub use row::{Convert, Resource, ScalePaths, Scope, Strategy, Subresources, Verb};
