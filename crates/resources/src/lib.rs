//! **The kind table**: for each built-in kind its names, scope, versions, subresources, defaults,
//! validation, strategy, printer columns, selectable fields and type facts. Pure, no IO.
//!
//! Start with [`Resource`] (a row) and [`builtin`] (the table). A CRD makes the same row at run time.
//! [`types`] are the structures the rows refer to.

pub mod columns;
mod convert;
mod defaults;
pub mod docs;
mod embedded;
mod fill;
pub mod messages;
pub mod openapi;
pub mod row;
pub mod schema_data;
pub mod strategy;
pub mod table;
mod validation;

#[cfg(test)]
mod arbitrary;

pub use messages::messages;
pub use row::{Convert, Resource, ScalePaths, Scope, Strategy, Subresources, Verb};
pub use schema_data::{struct_of_kind, types};
pub use table::{
    Builtin, KindTable, ResourceSource, SubresourceInfo, absent_field_values, builtin, subresources,
};
