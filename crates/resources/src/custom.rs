//! Custom kinds: what a definition (`CustomResourceDefinition`) says, made into rows of the kind table.
//!
//! Start with [`rows`], which turns a stored definition into its rows. `structural` is the schema of a version, read
//! once; `prune`, `defaulting` and `validate` are what happens to an object by it, `shape` is the schema as the types
//! that field management and patches know. `rules` are those in CEL, `costs` what they may cost and `extents` how large values can be. `logic` joins them for the pipeline, `columns` prints, `path` reads the
//! definition's JSON paths. Nothing here waits, reads a clock, or knows other definitions.

mod columns;
pub(crate) mod costs;
mod defaulting;
mod extents;
mod logic;
mod path;
mod prune;
mod rows;
mod rule_set;
pub(crate) mod rules;
mod shape;
mod structural;
pub(crate) mod validate;

pub(crate) use path::JsonPath;
pub(crate) use prune::prune;
pub(crate) use rows::condition_is_true;
pub use rows::rows;
pub use rule_set::RuleSet;
pub use structural::{Additional, Keywords, ListType, Structural, Type};
