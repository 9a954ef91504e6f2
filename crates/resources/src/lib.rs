//! **The kind table**: for each built-in kind its names, scope, versions, subresources, defaults,
//! validation, strategy, printer columns, selectable fields and type facts. Pure, no IO.
//!
//! Start with [`Resource`] (a row) and [`builtin`] (the table). A row is a value with its own data, so that a custom
//! resource's is made at run time. [`Schema`] is the structure a row refers to.

pub mod columns;
mod convert;
mod defaults;
pub mod docs;
mod embedded;
mod fill;
mod messages;
pub mod openapi;
mod part;
pub mod row;
mod schema;
mod schema_data;
pub mod strategy;
pub mod table;
mod validation;

#[cfg(test)]
mod arbitrary;

pub use part::{Part, PartHandler, ScalePaths};
pub use row::{Convert, Resource, Scope, SelectableField, Strategy, Verb};
pub use schema::Schema;
pub use schema_data::{builtin_types, schema_of_kind, schema_of_structure};
pub use table::{Builtin, KindTable, ResourceSource, builtin};
