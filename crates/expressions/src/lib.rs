//! CEL, the language of rules in definitions and policies: expressions over JSON objects. Pure, no IO, no clock.
//!
//! Start with [`Program::compile`], which reads (`parser`) and checks (`check`) an expression against declared
//! [`Type`]s, and [`Program::run`], which evaluates it (`evaluate`) within a [`Budget`]: whatever the expression and
//! whatever the objects, it ends once the budget is spent. What it costs at most can be estimated before (`cost`). `signatures` lists the functions there are.
//!
//! Never here: what an expression is for, a kind's name.

mod check;
mod cost;
mod depth;
mod evaluate;
mod foreign;
mod formats;
mod json;
mod lexer;
mod parser;
mod program;
mod signatures;
mod syntax;
mod text;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use cost::{Extent, Inside};
pub use evaluate::{Budget, Fault};
pub use foreign::{Foreign, Given};
pub use program::{Program, Rejected};
pub use text::Text;
pub use types::{JSON_PATCH, OBJECT, ObjectType, RESERVED, Type};
pub use value::{Made, Value};
