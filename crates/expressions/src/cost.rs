//! What an expression costs at most, estimated before any value is seen: by the sizes that a schema allows. Pure.
//!
//! Start with [`worst`]. [`Extent`] is what is known of a variable's size, `estimate` walks the expression, `calls` knows
//! what functions cost, `size` counts. Source of the numbers: cel-go's `checker/cost.go` and upstream's
//! `k8s.io/apiserver/pkg/cel/library/cost.go`: a definition that upstream accepts has to be accepted here.
//!
//! Not the run-time budget (`evaluate`), which counts what is really done.

mod calls;
mod estimate;
mod known;
mod size;

use std::collections::BTreeMap;

use crate::syntax::Expr;
use crate::types::Type;

/// How large a value can be, and what is inside.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extent {
    /// Items of a list, entries of a map, characters of a text; 0 of everything else.
    pub most: u64,
    pub inside: Inside,
}

/// The sizes of what a value holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Inside {
    #[default]
    Nothing,
    Items(Box<Extent>),
    Values(Box<Extent>),
    /// By the names that expressions have for the fields.
    Fields(BTreeMap<String, Extent>),
}

/// The most that an expression can cost over variables of these types, all of which have the same extent.
pub(crate) fn worst(expr: &Expr, variables: &[(&str, &Type)], root: &Extent) -> u64 {
    estimate::worst(expr, variables, root)
}
