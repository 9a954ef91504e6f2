//! **The kind table**: for each built-in kind its names, scope, versions, subresources, defaults,
//! validation, logic, printer columns, selectable fields and type facts. Pure, no IO.
//!
//! Start with [`Resource`] (a row) and [`builtin`] (the table). A row is a value with its own data, so that a custom
//! resource's is made at run time. The built-in rows are in `kinds`, a file a kind. [`Schema`] is the structure a row refers to.

pub mod bootstrap_token;
mod builtin;
pub mod columns;
pub mod conditions;
mod convert;
pub mod cron;
pub mod custom;
mod defaults;
pub mod docs;
pub mod elsewhere;
mod embedded;
mod fill;
pub mod flowcontrol;
mod kinds;
mod logic;
mod messages;
pub mod openapi;
mod part;
pub mod protobuf;
mod qos;
pub mod quota;
pub mod row;
mod schema;
mod schema_data;
mod status;
pub mod table;
mod typed;
mod validation;
mod verb;
mod written;

#[cfg(test)]
mod arbitrary;

pub use builtin::{Builtin, builtin};
pub use logic::{Changes, Judge, Logic, MetadataOnly};
pub use part::{Part, PartHandler, Proxied, ScalePaths};
pub use row::{
    ConversionWebhook, Convert, Immutable, Observed, Question, Refusal, Resource, Rules, Scope,
    SelectableField,
};
pub use schema::{Custom, Schema};
pub use schema_data::{builtin_types, schema_of_kind, schema_of_structure};
pub use table::order::{Priority, by_priority, is_registered};
pub use table::{KindTable, ResourceSource};
pub use validation::{policy_types, service_address_errors};
pub use verb::Verb;
